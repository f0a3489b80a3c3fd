# Makes the component $PEERLET_OUT of the module app.js in $PEERLET_DIR, with jco and ComponentizeJS.
set -eu

say() { echo "js: $*" >&2; }

cd "$PEERLET_DIR"
if [ -x node_modules/.bin/jco ]; then
    tool=node_modules/.bin/jco
elif command -v jco >/dev/null 2>&1; then
    tool=jco
elif command -v npm >/dev/null 2>&1; then
    say "installing what package.json names"
    npm install --no-audit --no-fund --fetch-retries 0 --loglevel error >&2 && [ -x node_modules/.bin/jco ] || {
        say "error: jco cannot be had; run 'npm install' where the npm registry can be reached"
        exit 69
    }
    tool=node_modules/.bin/jco
else
    say "error: there is no npm; install Node.js and run 'npm install'"
    exit 69
fi

mkdir -p "$(dirname "$PEERLET_OUT")"
# Without these the engine brings along what no node offers.
"$tool" componentize app.js --wit wit --world-name application --disable http --disable fetch-event --out "$PEERLET_OUT" >&2
