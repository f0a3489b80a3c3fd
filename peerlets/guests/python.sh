# Makes the component $PEERLET_OUT of the module `app` in $PEERLET_DIR, with componentize-py.
set -eu

# The newest that has been tried. Any that is found comes first.
RELEASES='componentize-py>=0.25,<0.26'
SECONDS_MAX=${PROST_PIP_SECONDS:-180}

say() { echo "python: $*" >&2; }

own=$PEERLET_CACHE/componentize-py
if [ -x "$PEERLET_DIR/.venv/bin/componentize-py" ]; then
    tool=$PEERLET_DIR/.venv/bin/componentize-py
elif command -v componentize-py >/dev/null 2>&1; then
    tool=componentize-py
else
    tool=$own/bin/componentize-py
    if [ ! -x "$tool" ]; then
        say "installing componentize-py for this user"
        rm -rf "$own"
        mkdir -p "$PEERLET_CACHE"
        limit=
        if command -v timeout >/dev/null 2>&1; then limit="timeout -k 5 $SECONDS_MAX"; fi
        if ! { python3 -m venv "$own" && $limit "$own/bin/pip" --quiet --disable-pip-version-check install "$RELEASES"; } >&2; then
            rm -rf "$own"
            say "error: componentize-py cannot be had; run 'pip install componentize-py' where PyPI can be reached"
            exit 69
        fi
    fi
fi

cd "$PEERLET_DIR"
mkdir -p "$(dirname "$PEERLET_OUT")"
# CPython reaches for files and sockets, which no node has: without them it traps where it would use one.
"$tool" --quiet --wit-path wit --world application componentize app --stub-wasi --output "$PEERLET_OUT" >&2
