//! All streams of the relay by id: their workers, options and routes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::error::ApiError;
use crate::api::new_stream::NewStream;
use crate::route::Route;

/// Longest id of a stream, characters.
const MAX_ID_LEN: usize = 64;

/// A stream as the control interface has it.
pub struct Entry {
    pub worker: usize,
    /// the options with all changes
    pub config: NewStream,
    pub route: Route,
}

/// See the [module](self).
#[derive(Default)]
pub struct Registry(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_id: BTreeMap<String, Entry>,
    next_number: u64,
}

impl Registry {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // A panic of another thread leaves the map complete: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn len(&self) -> usize {
        self.entries().by_id.len()
    }

    /// Calls `read` with the stream of an id.
    ///
    /// # Errors
    /// [`ApiError::NotFound`]
    pub fn with<T>(&self, id: &str, read: impl FnOnce(&mut Entry) -> T) -> Result<T, ApiError> {
        let mut entries = self.entries();
        let entry = entries.by_id.get_mut(id);
        entry.map(read).ok_or_else(|| ApiError::unknown_stream(id))
    }

    pub fn contains(&self, id: &str) -> bool {
        self.entries().by_id.contains_key(id)
    }

    /// An id that no stream has.
    pub fn free_id(&self) -> String {
        let mut entries = self.entries();
        loop {
            entries.next_number += 1;
            let id = format!("stream-{}", entries.next_number);
            if !entries.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// The worker with the fewest streams.
    pub fn idlest_worker(&self, workers: usize) -> usize {
        let mut streams = vec![0usize; workers];
        for entry in self.entries().by_id.values() {
            streams[entry.worker] += 1;
        }
        (0..workers)
            .min_by_key(|worker| streams[*worker])
            .unwrap_or(0)
    }

    /// Checks that packets on `route` do not come back. `id`: the stream whose route it becomes.
    ///
    /// # Errors
    /// [`ApiError::Invalid`]
    pub fn check_route(&self, id: &str, route: Route) -> Result<(), ApiError> {
        let entries = self.entries();
        let others: Vec<Route> = entries
            .by_id
            .iter()
            .filter(|(other, _)| *other != id)
            .map(|(_, entry)| entry.route)
            .collect();
        if !route.is_ring(&others) {
            return Ok(());
        }
        let (listen, send_to) = (route.listen, route.send_to);
        let text = format!(
            "send_to: packets to {send_to} come back to {listen}, the address that the stream listens on, directly \
             or through other streams of the relay"
        );
        Err(ApiError::Invalid(text))
    }

    pub fn insert(&self, id: String, entry: Entry) {
        self.entries().by_id.insert(id, entry);
    }

    pub fn remove(&self, id: &str) {
        self.entries().by_id.remove(id);
    }

    /// Ids after `after`, ascending, of streams with all of `labels`, with their workers.
    pub fn select(
        &self,
        labels: &BTreeMap<String, String>,
        after: Option<&str>,
    ) -> Vec<(String, usize)> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries();
        let selected = entries
            .by_id
            .range::<str, _>((first, Bound::Unbounded))
            .filter(|(_, entry)| {
                let own = &entry.config.labels;
                labels
                    .iter()
                    .all(|(name, value)| own.get(name) == Some(value))
            });
        let ids = selected.map(|(id, entry)| (id.clone(), entry.worker));
        ids.collect()
    }
}

/// Checks that an id can be a part of a URL.
///
/// # Errors
/// [`ApiError::Invalid`]
pub fn check_id(id: &str) -> Result<(), ApiError> {
    let is_url_safe = id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b));
    if is_url_safe && (1..=MAX_ID_LEN).contains(&id.len()) && id != "." && id != ".." {
        return Ok(());
    }
    let text = "id: expected 1 to 64 letters, digits, `-`, `_`, `.` or `~`";
    Err(ApiError::Invalid(text.into()))
}
