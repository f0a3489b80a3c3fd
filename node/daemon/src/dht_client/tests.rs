use std::collections::BTreeMap;

use prost_dht_api::{Found, Get, Listed, Put, Remove, Stored};
use serde::Serialize;

use super::ask::Calls;
use super::*;

/// A dht in memory, whose failures are chosen.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
    /// Errors of the next calls.
    failures: Vec<AdminError>,
    /// Puts from this one on are refused for good.
    puts_left: Option<usize>,
    calls: usize,
}

impl Memory {
    fn client(&self) -> DhtClient {
        DhtClient { asker: Asker::new(Box::new(self.clone()), PATIENCE) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.0)
    }

    fn records(&self) -> usize {
        self.state().records.len()
    }
}

impl Calls for Memory {
    fn call(&self, method: &str, body: &[u8]) -> Result<Vec<u8>, AdminError> {
        let mut state = self.state();
        state.calls += 1;
        if let Some(failure) = state.failures.pop() {
            return Err(failure);
        }
        match method {
            "put" => {
                let Put { key, name, value, .. } = serde_cbor::from_slice(body).expect("it is a put");
                assert!(value.len() <= MAX_VALUE);
                match &mut state.puts_left {
                    Some(0) => return Err(refusal(422, "bad-request: enough")),
                    Some(left) => *left -= 1,
                    None => {}
                }
                state.records.insert((key.to_vec(), name.into_vec()), value.into_vec());
                Ok(cbor(&Stored { version: 1, replicas: 1 }))
            }
            "get" => {
                let Get { key, name, .. } = serde_cbor::from_slice(body).expect("it is a get");
                let found = state.records.get(&(key.to_vec(), name.into_vec()));
                Ok(cbor(&found.map(|value| Found {
                    value: ByteBuf::from(value.as_slice()),
                    version: 1,
                    expires_in: None,
                    from: ByteArray::new([0; 20]),
                })))
            }
            "remove" => {
                let Remove { key, name, .. } = serde_cbor::from_slice(body).expect("it is a remove");
                state.records.remove(&(key.to_vec(), name.into_vec()));
                Ok(cbor(&Stored { version: 2, replicas: 1 }))
            }
            other => panic!("nobody asks {other}"),
        }
    }
}

fn cbor(value: &impl Serialize) -> Vec<u8> {
    serde_cbor::to_vec(value).expect("it can be encoded")
}

fn refusal(status: u16, error: &str) -> AdminError {
    AdminError::Refused { status, error: error.to_owned(), hint: None }
}

fn content(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&size.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn values_of_every_size_come_back_as_they_went() {
    let memory = Memory::default();
    let dht = memory.client();
    for size in [0, 1, MAX_INLINE, MAX_INLINE + 1, CHUNK * 2, CHUNK * 20 + 7] {
        let name = format!("file of {size}");
        let value = content(size);

        let written = dht.put(name.as_bytes(), &mut value.as_slice()).expect("it is stored");

        let chunks = if size <= MAX_INLINE { 0 } else { size.div_ceil(CHUNK) };
        assert_eq!(written, Written { version: 1, bytes: size as u64, chunks: chunks as u32, left_behind: 0 });
        assert_eq!(dht.get(name.as_bytes()).expect("it is there"), Some(value.clone()));
        let mut output = Vec::new();
        assert_eq!(dht.get_to(name.as_bytes(), &mut output).expect("it is there"), Some(size as u64));
        assert!(output == value);
    }
    assert_eq!(dht.get(b"no such name").expect("the dht answers"), None);
    assert_eq!(dht.retries(), 0);
}

#[test]
fn what_a_long_value_leaves_is_removed_with_it() {
    let memory = Memory::default();
    let dht = memory.client();
    let long = content(CHUNK * 5);

    dht.put(b"a", &mut long.as_slice()).expect("it is stored");
    assert_eq!(memory.records(), 6);
    dht.put(b"a", &mut content(CHUNK * 3).as_slice()).expect("it is replaced by a shorter one");
    assert_eq!(memory.records(), 4);
    dht.put(b"a", &mut b"short".as_slice()).expect("it is replaced by a short one");
    assert_eq!(memory.records(), 1);
    dht.put(b"a", &mut long.as_slice()).expect("it is stored again");
    assert_eq!(dht.remove(b"a").expect("it is removed"), 0);
    assert_eq!(memory.records(), 0);
}

#[test]
fn a_put_that_fails_half_way_keeps_the_old_value_and_leaves_nothing() {
    let memory = Memory::default();
    let dht = memory.client();
    dht.put(b"a", &mut b"old".as_slice()).expect("it is stored");
    memory.state().puts_left = Some(3);

    let error = dht.put(b"a", &mut content(CHUNK * 9).as_slice()).expect_err("the dht refuses");

    assert!(matches!(error, DhtError::Refused(Refusal::BadRequest(_))), "{error}");
    assert_eq!(memory.records(), 1);
    assert_eq!(dht.get(b"a").expect("it is there"), Some(b"old".to_vec()));
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_told_at_once() {
    let memory = Memory::default();
    let dht = memory.client();
    dht.put(b"a", &mut b"value".as_slice()).expect("it is stored");
    let calls = memory.state().calls;

    memory.state().failures = vec![refusal(502, "unreachable"), refusal(504, "no answer within the deadline")];
    assert_eq!(dht.get(b"a").expect("the third attempt succeeds"), Some(b"value".to_vec()));
    assert_eq!(memory.state().calls, calls + 3);
    assert_eq!(dht.retries(), 2);

    memory.state().failures = vec![refusal(401, "the token is missing")];
    assert!(matches!(dht.get(b"a"), Err(DhtError::Admin(AdminError::Refused { status: 401, .. }))));
    assert_eq!(memory.state().calls, calls + 4);
}

#[test]
fn patience_ends_when_it_is_told_to() {
    let memory = Memory::default();
    let stop = Arc::new(AtomicBool::new(true));
    let dht = memory.client().with_stop(stop);
    memory.state().failures = vec![refusal(503, "busy")];

    assert!(matches!(dht.get(b"a"), Err(DhtError::Refused(Refusal::Busy))));
    assert_eq!(dht.retries(), 0);
}

#[test]
fn damage_is_noticed() {
    let memory = Memory::default();
    let dht = memory.client();
    let value = content(CHUNK * 3);
    dht.put(b"a", &mut value.as_slice()).expect("it is stored");
    let chunk = |state: &State| {
        state.records.iter().find(|(_, value)| value.len() == CHUNK).map(|(place, _)| place.clone()).expect("a chunk")
    };

    let place = chunk(&memory.state());
    memory.state().records.get_mut(&place).expect("the chunk")[9] ^= 1;
    assert!(matches!(dht.get(b"a"), Err(DhtError::Damaged)));
    memory.state().records.insert(place.clone(), vec![0; CHUNK - 1]);
    assert!(matches!(dht.get(b"a"), Err(DhtError::Damaged)));
    memory.state().records.remove(&place);
    assert!(matches!(dht.get(b"a"), Err(DhtError::MissingChunk(_))));
}

#[test]
fn a_record_of_somebody_else_is_no_value_but_can_be_replaced() {
    let memory = Memory::default();
    let dht = memory.client();
    let place = Place::of_value(b"a");
    memory.state().records.insert((place.key.as_bytes().to_vec(), place.name), b"\x07what".to_vec());

    assert!(matches!(dht.get(b"a"), Err(DhtError::BadRecord(_))));
    dht.put(b"a", &mut b"mine".as_slice()).expect("it is replaced");
    assert_eq!(dht.get(b"a").expect("it is there"), Some(b"mine".to_vec()));
}

#[test]
fn a_listing_ends_even_where_its_pages_go_round() {
    struct Round;
    impl Calls for Round {
        fn call(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, AdminError> {
            let name = ByteBuf::from(b"a");
            Ok(cbor(&Listed { names: vec![name.clone()], next: Some(name) }))
        }
    }
    let dht = DhtClient { asker: Asker::new(Box::new(Round), PATIENCE) };

    let names = dht.list(Key::hash(b"a"), b"").expect("it ends");

    assert_eq!(names, [b"a".to_vec(), b"a".to_vec()]);
}
