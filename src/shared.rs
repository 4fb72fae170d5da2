//! What streams share: made for the first one, freed with the last one. What a stream reads in each hop is then in
//! the cache when the next stream reads it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The values of one kind that are in use at present, by what determines them.
pub(crate) struct Shared<K, T> {
    values: Mutex<Vec<(K, Weak<T>)>>,
}

impl<K: PartialEq, T> Shared<K, T> {
    pub(crate) const fn new() -> Self {
        Self {
            values: Mutex::new(Vec::new()),
        }
    }

    /// The value of `key`. `make` makes it unless it is in use.
    pub(crate) fn get(&self, key: K, make: impl FnOnce(&K) -> T) -> Arc<T> {
        let Ok(value) = self.try_get(key, |key| Ok::<_, Infallible>(Arc::new(make(key))));
        value
    }

    /// [`Self::get`] where `make` can fail.
    ///
    /// # Errors
    /// That of `make`.
    pub(crate) fn try_get<E>(
        &self,
        key: K,
        make: impl FnOnce(&K) -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        // A panic in `make` leaves the list complete: each change is one call.
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.retain(|(_, value)| value.strong_count() > 0);
        let found = values.iter().find(|(other, _)| *other == key);
        if let Some(value) = found.and_then(|(_, value)| value.upgrade()) {
            return Ok(value);
        }
        let value = make(&key)?;
        values.push((key, Arc::downgrade(&value)));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shared_while_one_of_their_users_exists() {
        let shared = Shared::new();
        let table = shared.get(3, |n| n * n);
        assert!(Arc::ptr_eq(&table, &shared.get(3, |_| unreachable!())));
        let other = shared.get(4, |n| n * n);
        assert_eq!((*table, *other), (9, 16));
        let weak = Arc::downgrade(&table);
        drop(table);
        assert!(weak.upgrade().is_none());
        assert_eq!(shared.try_get(3, |_| Err("not made")), Err("not made"));
        assert_eq!(*shared.get(3, |_| 5), 5, "made again");
    }
}
