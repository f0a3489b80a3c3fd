//! Peerlets written by hand, in the text format of components.

/// The type `message` of the contract, flattened for a core function.
const MESSAGE: &str = "(param $id i64)
    (param $keyed i32) (param $key-high i64) (param $key-middle i64) (param $key-low i32)
    (param $dispatch i32)
    (param $origin-high i64) (param $origin-middle i64) (param $origin-low i32)
    (param $previous-high i64) (param $previous-middle i64) (param $previous-low i32)
    (param $hops i32) (param $payload i32) (param $length i32)";

/// A peerlet: handlers do nothing unless a body is given for them. A body is core WebAssembly text.
///
/// A body may use the memory, whose bytes from 1024 to 4096 are free, and the functions of the capabilities it was
/// given: `$put`, `$get`, `$delete`, `$names`, `$keys`, `$send`, `$route`, `$set`, `$respond`, `$sign`, `$log`.
#[derive(Clone)]
pub struct Peerlet {
    imports: String,
    lowered: String,
    given: String,
    core_imports: String,
    module: String,
    memory: String,
    lib: String,
    realloc: String,
    lower_options: String,
    post_return: Option<String>,
    init: String,
    deliver: String,
    forward: String,
    update: String,
    fired: String,
    serve: String,
}

/// Gives out memory from 4096 to 61440, round and round.
const REALLOC: &str = "(local $at i32)
      (if (i32.gt_u (i32.add (global.get $next) (local.get 3)) (i32.const 61440))
        (then (global.set $next (i32.const 4096))))
      (local.set $at (global.get $next))
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 15)) (i32.const -16)))
      (local.get $at)";

/// Where a zeroed `result` lies: `ok`.
pub const OK: &str = "i32.const 16";

/// A loop that does this so many times.
pub fn repeat(count: u32, body: &str) -> String {
    format!(
        "(local $n i32) (loop $again {body} (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const {count}))))"
    )
}

impl Peerlet {
    pub fn new() -> Peerlet {
        let empty = String::new;
        Peerlet {
            imports: empty(),
            lowered: empty(),
            given: empty(),
            core_imports: empty(),
            module: empty(),
            memory: "1".to_owned(),
            lib: empty(),
            realloc: REALLOC.to_owned(),
            lower_options: empty(),
            post_return: None,
            init: OK.to_owned(),
            deliver: OK.to_owned(),
            forward: OK.to_owned(),
            update: empty(),
            fired: empty(),
            serve: OK.to_owned(),
        }
    }

    pub fn init(mut self, body: &str) -> Peerlet {
        self.init = body.to_owned();
        self
    }

    pub fn deliver(mut self, body: &str) -> Peerlet {
        self.deliver = body.to_owned();
        self
    }

    pub fn forward(mut self, body: &str) -> Peerlet {
        self.forward = body.to_owned();
        self
    }

    pub fn update(mut self, body: &str) -> Peerlet {
        self.update = body.to_owned();
        self
    }

    pub fn fired(mut self, body: &str) -> Peerlet {
        self.fired = body.to_owned();
        self
    }

    pub fn serve(mut self, body: &str) -> Peerlet {
        self.serve = body.to_owned();
        self
    }

    /// Fields of the core module besides the handlers.
    pub fn module(mut self, fields: &str) -> Peerlet {
        self.module = fields.to_owned();
        self
    }

    /// Limits of the memory, in pages.
    pub fn memory(mut self, limits: &str) -> Peerlet {
        self.memory = limits.to_owned();
        self
    }

    /// Fields of the module that has the memory.
    pub fn lib(mut self, fields: &str) -> Peerlet {
        self.lib = fields.to_owned();
        self
    }

    /// How memory is given out: from the address, the size, the alignment and the new size to the new address.
    pub fn realloc(mut self, body: &str) -> Peerlet {
        self.realloc = body.to_owned();
        self
    }

    /// What runs after the result of `deliver` has been read.
    pub fn post_return(mut self, body: &str) -> Peerlet {
        self.post_return = Some(body.to_owned());
        self
    }

    /// The encoding of strings in the calls of interfaces that are given afterwards.
    pub fn encoding(mut self, name: &str) -> Peerlet {
        self.lower_options = format!("string-encoding={name}");
        self
    }

    /// A resource of its own: `$new`, `$drop-thing`.
    pub fn resource(self) -> Peerlet {
        self.import("(type $thing (resource (rep i32)))")
            .canonical("new", "resource.new $thing", "(param i32) (result i32)")
            .canonical("drop-thing", "resource.drop $thing", "(param i32)")
    }

    /// Component text besides: imports of anything.
    pub fn import(mut self, text: &str) -> Peerlet {
        self.imports.push_str(text);
        self
    }

    pub fn storage(self) -> Peerlet {
        let instance = r#"
          (alias outer 1 $key (type $outer))
          (export "key" (type $key (eq $outer)))
          (type $place' (variant (case "node") (case "at" $key)))
          (export "place" (type $place (eq $place')))
          (type $error' (variant (case "over-quota") (case "too-large") (case "not-here") (case "unavailable")))
          (export "storage-error" (type $error (eq $error')))
          (export "get" (func (param "place" $place) (param "name" (list u8))
            (result (result (option (list u8)) (error $error)))))
          (export "put" (func (param "place" $place) (param "name" (list u8)) (param "value" (list u8))
            (param "expires-in" (option u64)) (result (result (error $error)))))
          (export "delete" (func (param "place" $place) (param "name" (list u8)) (result (result (error $error)))))
          (export "names" (func (param "place" $place) (param "prefix" (list u8)) (param "after" (option (list u8)))
            (param "max" u32) (result (result (list (list u8)) (error $error)))))
          (alias outer 1 $range (type $outer-range))
          (export "key-range" (type $range (eq $outer-range)))
          (export "keys" (func (param "range" $range) (param "after" (option $key)) (param "max" u32)
            (result (result (list $key) (error $error)))))"#;
        self.interface("storage", instance)
            .function("storage", "get", "(param i32 i64 i64 i32 i32 i32 i32)")
            .function("storage", "put", "(param i32 i64 i64 i32 i32 i32 i32 i32 i32 i64 i32)")
            .function("storage", "delete", "(param i32 i64 i64 i32 i32 i32 i32)")
            .function("storage", "names", "(param i32 i64 i64 i32 i32 i32 i32 i32 i32 i32 i32)")
            .function("storage", "keys", "(param i64 i64 i32 i64 i64 i32 i32 i64 i64 i32 i32 i32)")
    }

    pub fn route(self) -> Peerlet {
        let instance = r#"
          (alias outer 1 $key (type $outer))
          (export "key" (type $key (eq $outer)))
          (alias outer 1 $node-id (type $outer-node))
          (export "node-id" (type $node (eq $outer-node)))
          (alias outer 1 $dispatch (type $outer-dispatch))
          (export "dispatch" (type $dispatch (eq $outer-dispatch)))
          (type $error' (variant (case "over-budget") (case "too-large") (case "not-joined")))
          (export "route-error" (type $error (eq $error')))
          (export "route" (func (param "key" $key) (param "payload" (list u8)) (param "dispatch" $dispatch)
            (param "hint" (option $node)) (result (result u64 (error $error)))))
          (export "send" (func (param "to" $node) (param "payload" (list u8)) (result (result u64 (error $error)))))"#;
        self.interface("route", instance)
            .function("route", "route", "(param i64 i64 i32 i32 i32 i32 i32 i64 i64 i32 i32)")
            .function("route", "send", "(param i64 i64 i32 i32 i32 i32)")
    }

    pub fn timer(self) -> Peerlet {
        let instance = r#"
          (type $error' (variant (case "over-budget")))
          (export "timer-error" (type $error (eq $error')))
          (export "set" (func (param "after-ms" u64) (param "tag" u64) (result (result u64 (error $error)))))"#;
        self.interface("timer", instance).function("timer", "set", "(param i64 i64 i32)")
    }

    pub fn client(self) -> Peerlet {
        let instance = r#"
          (type $error' (variant (case "gone") (case "too-large")))
          (export "client-error" (type $error (eq $error')))
          (export "respond" (func (param "request" u64) (param "outcome" (result (list u8) (error string)))
            (result (result (error $error)))))"#;
        self.interface("client", instance).function("client", "respond", "(param i64 i32 i32 i32 i32)")
    }

    pub fn identity(self) -> Peerlet {
        let instance = r#"
          (type $signature' (record (field "public-key" (list u8)) (field "bytes" (list u8))))
          (export "signature" (type $signature (eq $signature')))
          (export "sign" (func (param "statement" (list u8)) (result $signature)))"#;
        self.interface("identity", instance).function("identity", "sign", "(param i32 i32 i32)")
    }

    /// WASI's random numbers and clocks: `$random`, `$now`, `$wait`.
    pub fn wasi_values(self) -> Peerlet {
        let text = r#"
          (import "wasi:random/random@0.2.6" (instance $random' (export "get-random-u64" (func (result u64)))))
          (import "wasi:io/poll@0.2.6" (instance $poll (export "pollable" (type (sub resource)))))
          (alias export $poll "pollable" (type $pollable))
          (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
            (alias outer 1 $pollable (type $outer))
            (export "pollable" (type $pollable (eq $outer)))
            (export "now" (func (result u64)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
        "#;
        self.import(text)
            .function_as("random'", "get-random-u64", "random", "(result i64)")
            .function_as("clock", "now", "now", "(result i64)")
            .function_as("clock", "subscribe-duration", "wait", "(param i64) (result i32)")
    }

    /// WASI's standard error: `$stderr`, `$print`, `$drop-stream`.
    pub fn wasi_stderr(self) -> Peerlet {
        let text = r#"
          (import "wasi:io/error@0.2.6" (instance $io-error (export "error" (type (sub resource)))))
          (alias export $io-error "error" (type $io-error-type))
          (import "wasi:io/streams@0.2.6" (instance $streams
            (alias outer 1 $io-error-type (type $outer))
            (export "error" (type $error (eq $outer)))
            (export "output-stream" (type $output (sub resource)))
            (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
            (export "stream-error" (type $stream-error (eq $failure)))
            (export "[method]output-stream.blocking-write-and-flush"
              (func (param "self" (borrow $output)) (param "contents" (list u8))
                (result (result (error $stream-error)))))))
          (alias export $streams "output-stream" (type $output))
          (import "wasi:cli/stderr@0.2.6" (instance $stderr'
            (alias outer 1 $output (type $outer))
            (export "output-stream" (type $output (eq $outer)))
            (export "get-stderr" (func (result (own $output))))))
        "#;
        self.import(text)
            .function_as("stderr'", "get-stderr", "stderr", "(result i32)")
            .function_as(
                "streams",
                "[method]output-stream.blocking-write-and-flush",
                "print",
                "(param i32 i32 i32 i32)",
            )
            .canonical("drop-stream", "resource.drop $output", "(param i32)")
    }

    /// A core module besides, given by its fields, that exports `run`: `$run`.
    pub fn beside(mut self, fields: &str) -> Peerlet {
        self.lowered
            .push_str(&format!("(core module $beside' {fields}) (core instance $beside (instantiate $beside'))\n"));
        self.given.push_str(r#"(export "run" (func $beside "run"))"#);
        self.core_imports.push_str(r#"(import "host" "run" (func $run (param i32 i64) (result i64)))"#);
        self
    }

    pub fn log(self) -> Peerlet {
        let instance = r#"
          (type $level' (enum "debug" "info" "warn" "error"))
          (export "level" (type $level (eq $level')))
          (export "write" (func (param "level" $level) (param "line" string)))"#;
        self.interface("log", instance).function_as("log", "write", "log", "(param i32 i32 i32)")
    }

    fn interface(mut self, name: &str, instance: &str) -> Peerlet {
        self.imports.push_str(&format!(
            r#"(import "prost:peerlet/{name}@0.1.0" (instance ${name} {instance}))
            "#
        ));
        self
    }

    fn function(self, interface: &str, name: &str, parameters: &str) -> Peerlet {
        self.function_as(interface, name, name, parameters)
    }

    fn function_as(self, interface: &str, name: &str, here: &str, parameters: &str) -> Peerlet {
        let options = &self.lower_options;
        let lowered = format!(
            r#"lower (func ${interface} "{name}")
                (memory (core memory $lib "memory")) (realloc (core func $lib "realloc")) {options}"#
        );
        self.canonical(here, &lowered, parameters)
    }

    fn canonical(mut self, here: &str, definition: &str, parameters: &str) -> Peerlet {
        self.lowered.push_str(&format!("(core func ${here} (canon {definition}))\n            "));
        self.given.push_str(&format!(r#"(export "{here}" (func ${here}))"#));
        self.core_imports.push_str(&format!(r#"(import "host" "{here}" (func ${here} {parameters}))"#));
        self
    }

    /// The component's bytes.
    pub fn build(&self) -> Vec<u8> {
        wat::parse_str(self.text()).expect("the fixture is well-formed")
    }

    fn text(&self) -> String {
        let Peerlet { imports, lowered, given, core_imports, module, memory, lib, realloc, .. } = self;
        let (handlers, exports) = (self.handlers(), self.exports());
        format!(
            r#"(component
  (import "prost:peerlet/types@0.1.0" (instance $types
    (type $id' (record (field "high" u64) (field "middle" u64) (field "low" u32)))
    (export "id" (type $id (eq $id')))
    (export "key" (type $key (eq $id)))
    (export "node-id" (type $node-id (eq $id)))
    (type $range' (record (field "after" $key) (field "upto" $key)))
    (export "key-range" (type $range (eq $range')))
    (type $dispatch' (enum "per-hop" "end-node"))
    (export "dispatch" (type $dispatch (eq $dispatch')))
    (type $message' (record (field "id" u64) (field "key" (option $key)) (field "dispatch" $dispatch)
      (field "origin" $node-id) (field "previous" $node-id) (field "hops" u32) (field "payload" (list u8))))
    (export "message" (type $message (eq $message')))
    (type $failure' (variant (case "deadline") (case "unreachable") (case "no-willing-node") (case "too-many-hops")
      (case "not-durable") (case "handler-failed") (case "overloaded")))
    (export "failure" (type $failure (eq $failure')))))
  (alias export $types "key" (type $key))
  (alias export $types "node-id" (type $node-id))
  (alias export $types "key-range" (type $range))
  (alias export $types "dispatch" (type $dispatch))
  (alias export $types "message" (type $message))
  (alias export $types "failure" (type $failure))
  {imports}
  (core module $lib'
    (memory (export "memory") {memory})
    (global $next (mut i32) (i32.const 4096))
    {lib}
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc}))
  (core instance $lib (instantiate $lib'))
  {lowered}
  (core instance $host {given})
  (core module $main'
    (import "lib" "memory" (memory 0))
    {core_imports}
    {module}
    {handlers})
  (core instance $main (instantiate $main' (with "lib" (instance $lib)) (with "host" (instance $host))))
  {exports})"#
        )
    }

    fn exports(&self) -> String {
        const DELIVER: &str = r#"(core func $main "deliver")"#;
        match &self.post_return {
            Some(_) => EXPORTS.replace(DELIVER, &format!(r#"{DELIVER} (post-return (core func $main "after"))"#)),
            None => EXPORTS.to_owned(),
        }
    }

    fn handlers(&self) -> String {
        let Peerlet { init, deliver, forward, update, fired, serve, post_return, .. } = self;
        let after = post_return.as_ref().map(|body| format!(r#"(func (export "after") (param i32) {body})"#));
        let after = after.unwrap_or_default();
        format!(
            r#"
    {after}
    (func (export "init") (param i32 i32 i32 i32 i32 i32 i32) (result i32) {init})
    (func (export "deliver") {MESSAGE} (result i32) {deliver})
    (func (export "forward") (param $arguments i32) (result i32) {forward})
    (func (export "update") (param $case i32) (param i64 i64 i32 i64 i64 i32) {update})
    (func (export "fired") (param $timer i64) (param $tag i64) {fired})
    (func (export "serve") (param $id i64) (param $method i32) (param $method-length i32)
      (param $body i32) (param $length i32) (result i32) {serve})
    (func (export "failed") (param i64 i32))"#
        )
    }
}

/// The handler interface, lifted from the core module `$main`.
const EXPORTS: &str = r#"
  (type $start' (record (field "version" string) (field "upgraded-from" (option string)) (field "settings" (list u8))))
  (export $start "start" (type $start'))
  (type $change' (variant (case "joined" $node-id) (case "left" $node-id) (case "gained" $range) (case "lost" $range)
    (case "watched-down" $node-id)))
  (export $change "change" (type $change'))
  (type $rewritten' (record (field "key" $key) (field "payload" (list u8)) (field "next" (option $node-id))))
  (export $rewritten "rewritten" (type $rewritten'))
  (type $verdict' (variant (case "pass") (case "rewrite" $rewritten) (case "stop")))
  (export $verdict "verdict" (type $verdict'))
  (type $request' (record (field "id" u64) (field "method" string) (field "body" (list u8))))
  (export $request "request" (type $request'))
  (func $init (param "start" $start) (result (result (error string)))
    (canon lift (core func $main "init") (memory (core memory $lib "memory")) (realloc (core func $lib "realloc"))))
  (func $deliver (param "message" $message) (result (result (error string)))
    (canon lift (core func $main "deliver") (memory (core memory $lib "memory")) (realloc (core func $lib "realloc"))))
  (func $forward (param "message" $message) (param "next" $node-id) (result $verdict)
    (canon lift (core func $main "forward") (memory (core memory $lib "memory")) (realloc (core func $lib "realloc"))))
  (func $update (param "change" $change) (canon lift (core func $main "update")))
  (func $fired (param "timer" u64) (param "tag" u64) (canon lift (core func $main "fired")))
  (func $serve (param "request" $request) (result (result (error string)))
    (canon lift (core func $main "serve") (memory (core memory $lib "memory")) (realloc (core func $lib "realloc"))))
  (func $failed (param "message" u64) (param "reason" $failure) (canon lift (core func $main "failed")))
  (instance $handler
    (export "start" (type $start)) (export "change" (type $change)) (export "rewritten" (type $rewritten))
    (export "verdict" (type $verdict)) (export "request" (type $request))
    (export "init" (func $init)) (export "deliver" (func $deliver)) (export "forward" (func $forward))
    (export "update" (func $update)) (export "fired" (func $fired)) (export "serve" (func $serve))
    (export "failed" (func $failed)))
  (export "prost:peerlet/handler@0.1.0" (instance $handler))"#;
