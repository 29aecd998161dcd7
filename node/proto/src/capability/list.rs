//! Lists of bounded length, for documents that another node writes.
//!
//! **Invariant:** a [`List`] never holds more than its bound of items, whether it was made here or
//! came off the wire. Guarded by `a_longer_list_is_refused_off_the_wire`.

use std::{fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};

/// At most `MAX` items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Takes the first `MAX` of `items`, and returns how many were left out.
    #[must_use]
    pub fn cut(mut items: Vec<T>) -> (Self, usize) {
        let left_out = items.len().saturating_sub(MAX);
        items.truncate(MAX);
        (Self(items), left_out)
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> From<List<T, MAX>> for Vec<T> {
    fn from(list: List<T, MAX>) -> Self {
        list.0
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a List<T, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(WithinBound(PhantomData))
    }
}

/// Reads a plain vector with the bound of a [`List`]: for `#[serde(deserialize_with)]`.
pub(crate) fn within_bound<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    List::<T, MAX>::deserialize(deserializer).map(Vec::from)
}

/// Reads item by item and stops at the bound, so that a claimed length allocates nothing.
struct WithinBound<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for WithinBound<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(de::Error::invalid_length(MAX + 1, &self));
            }
            list.push(item);
        }
        Ok(List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_list_is_cut_and_says_so() {
        let (list, left_out) = List::<u8, 2>::cut(vec![1, 2, 3, 4, 5]);

        assert_eq!((&*list, left_out), (&[1, 2][..], 3));
        assert_eq!(
            List::<u8, 2>::cut(vec![1]),
            (List(vec![1]), 0),
            "a short list loses nothing"
        );
    }

    #[test]
    fn a_longer_list_is_refused_off_the_wire() {
        assert_eq!(
            postcard::from_bytes(&[2, 7, 8]),
            Ok(List::<u8, 2>(vec![7, 8]))
        );
        assert!(postcard::from_bytes::<List<u8, 2>>(&[3, 7, 8, 9]).is_err());
    }

    #[test]
    fn a_list_that_claims_a_huge_length_allocates_nothing() {
        let claims_4_gib = [0xff, 0xff, 0xff, 0xff, 0x0f];

        assert!(postcard::from_bytes::<List<(), 2>>(&claims_4_gib).is_err());
    }
}
