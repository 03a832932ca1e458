//! Which bodies this process has archived, by source and digest, within a bound.

use crate::reference::ArchiveRef;
use model::{Digest, SourceId};
use std::{collections::BTreeMap, mem};

type Key = (SourceId, Digest);

/// Forgets the least recently used, in two generations: what is used moves to the young one, and when
/// that is full the old one goes. At most the limit is held, and at least the most recent half of it.
#[derive(Debug)]
pub(crate) struct Index {
    generation_limit: usize,
    young: BTreeMap<Key, ArchiveRef>,
    old: BTreeMap<Key, ArchiveRef>,
}

impl Index {
    pub(crate) fn new(limit: usize) -> Self {
        Self { generation_limit: limit.div_ceil(2), young: BTreeMap::new(), old: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, source: &SourceId, digest: Digest, at: ArchiveRef) {
        if self.generation_limit == 0 {
            return;
        }
        if self.young.len() >= self.generation_limit {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert((source.clone(), digest), at);
    }

    pub(crate) fn find(&mut self, source: &SourceId, digest: &Digest) -> Option<ArchiveRef> {
        let key = (source.clone(), *digest);
        if let Some(at) = self.young.get(&key) {
            return Some(at.clone());
        }
        let at = self.old.remove(&key)?;
        self.insert(source, *digest, at.clone());
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> ArchiveRef {
        ArchiveRef { file: "s/2026-11-19/000001.warc.gz".to_owned(), offset: number, length: 1 }
    }

    fn digest(number: u64) -> Digest {
        crate::digest(&number.to_le_bytes())
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let source = SourceId::parse("s").unwrap();
        let mut index = Index::new(100);
        index.insert(&source, digest(0), at(0));
        index.insert(&source, digest(1), at(1));
        for number in 2..1000 {
            index.insert(&source, digest(number), at(number));
            assert_eq!(index.find(&source, &digest(0)), Some(at(0)), "{number}");
            assert!(index.young.len() + index.old.len() <= 100);
        }
        assert_eq!(index.find(&source, &digest(1)), None);
        assert_eq!(index.find(&source, &digest(999)), Some(at(999)));
    }

    #[test]
    fn sources_do_not_see_each_others_bodies() {
        let (mine, other) = (SourceId::parse("mine").unwrap(), SourceId::parse("other").unwrap());
        let mut index = Index::new(100);
        index.insert(&mine, digest(1), at(1));
        assert_eq!(index.find(&other, &digest(1)), None);
    }
}
