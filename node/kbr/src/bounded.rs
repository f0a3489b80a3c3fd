//! Lists from outside, read without allocating by the length they declare.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Most nodes in a list of neighbours, of refusals, or of hops. No list length in [`Config`](crate::Config) exceeds it.
pub(crate) const MAX_LIST: usize = 64;
/// Most bytes of an error text.
pub(crate) const MAX_TEXT: usize = 1024;

/// Reads a list of at most [`MAX_LIST`] items.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Listed(PhantomData))
}

/// Reads a list of at most [`MAX_LIST`] items, or none.
pub(crate) fn optional_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Ok(Option::<List<T>>::deserialize(deserializer)?.map(|list| list.0))
}

/// Reads a text of at most [`MAX_TEXT`] bytes.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > MAX_TEXT { Err(D::Error::custom("the text is too long")) } else { Ok(text) }
}

struct List<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        list(deserializer).map(List)
    }
}

struct Listed<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Listed<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_LIST} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX_LIST {
                return Err(A::Error::custom("the list is too long"));
            }
            list.push(item);
        }
        Ok(list)
    }
}
