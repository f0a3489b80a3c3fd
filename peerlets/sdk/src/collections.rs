//! Records as values and maps of them, in CBOR.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use minicbor::{Decode, Encode};

use crate::cbor::{self, Bytes};
use crate::storage::{self, Place, StorageError};
use crate::{Id, Key};

/// A record could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// The node says why.
    Storage(StorageError),
    /// What is stored there is no such value.
    Foreign,
}

impl From<StorageError> for RecordError {
    fn from(error: StorageError) -> RecordError {
        RecordError::Storage(error)
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Storage(error) => error.fmt(f),
            RecordError::Foreign => f.write_str("the record is not one of this kind"),
        }
    }
}

impl core::error::Error for RecordError {}

/// A value under a fixed name.
#[derive(Debug, Clone)]
pub struct Single<V> {
    place: Place,
    name: Vec<u8>,
    value: PhantomData<fn(V) -> V>,
}

impl<V: Encode<()> + for<'a> Decode<'a, ()>> Single<V> {
    /// The record of this name at a place.
    pub fn new(place: Place, name: &[u8]) -> Single<V> {
        Single { place, name: name.to_vec(), value: PhantomData }
    }

    /// The value; none where there is none.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn get(&self) -> Result<Option<V>, RecordError> {
        read(self.place, &self.name)
    }

    /// Writes the value, for so long; none keeps it.
    ///
    /// # Errors
    ///
    /// What the node says.
    pub fn set(&self, value: &V, expires_in: Option<Duration>) -> Result<(), StorageError> {
        storage::put(self.place, &self.name, &cbor::encode(value), expires_in)
    }

    /// Removes the value.
    ///
    /// # Errors
    ///
    /// What the node says.
    pub fn clear(&self) -> Result<(), StorageError> {
        storage::delete(self.place, &self.name)
    }
}

/// What can be the key of a [`Map`]: bytes whose order is that of the keys.
pub trait Name: Sized {
    /// The bytes.
    fn to_name(&self) -> Vec<u8>;
    /// Reads them back; none where they are no such key.
    fn from_name(bytes: &[u8]) -> Option<Self>;
}

impl Name for Id {
    fn to_name(&self) -> Vec<u8> {
        self.to_bytes().to_vec()
    }

    fn from_name(bytes: &[u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id::from_bytes)
    }
}

impl Name for u64 {
    fn to_name(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_name(bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(u64::from_be_bytes)
    }
}

impl Name for String {
    fn to_name(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_name(bytes: &[u8]) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }
}

impl Name for Bytes {
    fn to_name(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn from_name(bytes: &[u8]) -> Option<Bytes> {
        Some(Bytes::from(bytes))
    }
}

/// Values by key, each a record of its own whose name begins with the map's prefix. Two maps at one place must have
/// prefixes of which neither begins with the other.
#[derive(Debug, Clone)]
pub struct Map<K, V> {
    place: Place,
    prefix: Vec<u8>,
    entry: PhantomData<fn(K) -> V>,
}

impl<K: Name, V: Encode<()> + for<'a> Decode<'a, ()>> Map<K, V> {
    /// The map of this prefix at a place.
    pub fn new(place: Place, prefix: &[u8]) -> Map<K, V> {
        Map { place, prefix: prefix.to_vec(), entry: PhantomData }
    }

    /// The map of this prefix at a ring key.
    pub fn at(key: Key, prefix: &[u8]) -> Map<K, V> {
        Map::new(Place::At(key), prefix)
    }

    /// The value of a key; none where there is none.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn get(&self, key: &K) -> Result<Option<V>, RecordError> {
        read(self.place, &self.name(key))
    }

    /// Writes the value of a key, for so long; none keeps it.
    ///
    /// # Errors
    ///
    /// What the node says.
    pub fn insert(&self, key: &K, value: &V, expires_in: Option<Duration>) -> Result<(), StorageError> {
        storage::put(self.place, &self.name(key), &cbor::encode(value), expires_in)
    }

    /// Removes the value of a key.
    ///
    /// # Errors
    ///
    /// What the node says.
    pub fn remove(&self, key: &K) -> Result<(), StorageError> {
        storage::delete(self.place, &self.name(key))
    }

    /// Keys in order, after `after`, at most `max` and at most 1,024.
    ///
    /// # Errors
    ///
    /// What the node says.
    pub fn keys(&self, after: Option<&K>, max: u32) -> Result<Vec<K>, StorageError> {
        let after = after.map(|key| self.name(key));
        let names = storage::names(self.place, &self.prefix, after.as_deref(), max)?;
        Ok(names.iter().filter_map(|name| K::from_name(&name[self.prefix.len()..])).collect())
    }

    fn name(&self, key: &K) -> Vec<u8> {
        [self.prefix.as_slice(), &key.to_name()].concat()
    }
}

fn read<V: for<'a> Decode<'a, ()>>(place: Place, name: &[u8]) -> Result<Option<V>, RecordError> {
    let stored = storage::get(place, name)?;
    stored.map(|bytes| cbor::decode(&bytes).map_err(|_| RecordError::Foreign)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peerlet;
    use crate::testing::Node;

    #[derive(Default)]
    struct Nothing;

    impl Peerlet for Nothing {}

    #[test]
    fn a_map_keeps_its_keys_in_order_and_apart_from_others() {
        let mut node = Node::<Nothing>::new("a");
        node.act(|_| {
            let (numbers, names) =
                (Map::<u64, String>::new(Place::Node, b"n/"), Map::<String, u64>::new(Place::Node, b"s/"));
            for key in [300, 2, 1] {
                numbers.insert(&key, &format!("value {key}"), None).expect("written");
            }
            names.insert(&"x".to_owned(), &7, None).expect("written");
            assert_eq!(numbers.keys(None, 10), Ok(vec![1, 2, 300]));
            assert_eq!(numbers.keys(Some(&1), 1), Ok(vec![2]));
            assert_eq!(numbers.get(&300), Ok(Some("value 300".to_owned())));
            numbers.remove(&2).expect("removed");
            assert_eq!((numbers.get(&2), numbers.keys(None, 10)), (Ok(None), Ok(vec![1, 300])));
            assert_eq!(names.get(&"x".to_owned()), Ok(Some(7)));
        });
    }

    #[test]
    fn what_is_no_such_value_is_told_from_none() {
        let mut node = Node::<Nothing>::new("a");
        node.act(|_| {
            let single = Single::<u64>::new(Place::Node, b"one");
            assert_eq!(single.get(), Ok(None));
            single.set(&5, None).expect("written");
            assert_eq!(single.get(), Ok(Some(5)));
            storage::put(Place::Node, b"one", b"\xff", None).expect("written");
            assert_eq!(single.get(), Err(RecordError::Foreign));
            single.clear().expect("removed");
            assert_eq!(single.get(), Ok(None));
        });
    }
}
