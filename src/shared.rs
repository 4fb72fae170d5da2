//! Tables that streams share: made for the first stream, freed with the last one. What a stream reads in each
//! hop is then in the cache when the next stream reads it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The tables of one kind that streams use at present, by what determines them.
pub(crate) struct Shared<K, T> {
    tables: Mutex<Vec<(K, Weak<T>)>>,
}

impl<K: PartialEq, T> Shared<K, T> {
    pub(crate) const fn new() -> Self {
        Self {
            tables: Mutex::new(Vec::new()),
        }
    }

    /// The table of `key`. `make` makes it unless a stream has it.
    pub(crate) fn get(&self, key: K, make: impl FnOnce(&K) -> T) -> Arc<T> {
        // A panic in `make` leaves the list complete: each change is one call.
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|(_, table)| table.strong_count() > 0);
        let found = tables.iter().find(|(other, _)| *other == key);
        if let Some(table) = found.and_then(|(_, table)| table.upgrade()) {
            return table;
        }
        let table = Arc::new(make(&key));
        tables.push((key, Arc::downgrade(&table)));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_shared_while_one_of_their_users_exists() {
        let shared = Shared::new();
        let table = shared.get(3, |n| n * n);
        assert!(Arc::ptr_eq(&table, &shared.get(3, |_| unreachable!())));
        let other = shared.get(4, |n| n * n);
        assert_eq!((*table, *other), (9, 16));
        let weak = Arc::downgrade(&table);
        drop(table);
        assert!(weak.upgrade().is_none());
        assert_eq!(*shared.get(3, |_| 5), 5, "made again");
    }
}
