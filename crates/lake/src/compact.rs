//! Which small files become one larger one, and the rewriting itself.

use crate::{
    error::LakeError,
    log::LiveFile,
    parquet_file,
    port::{Maintenance, Scan, StagedFile},
    table::TableRef,
};
use arrow::datatypes::SchemaRef;
use std::{path::Path, sync::Arc};

/// Groups of files to be rewritten into one each; none if there are too few small files.
///
/// Smallest first, and a file only as long as those before it are together as large: a row is then
/// rewritten some log2(target / first size) times in its life, not once a compaction.
pub(crate) fn groups(files: &[Arc<LiveFile>], settings: &Maintenance) -> Vec<Vec<Arc<LiveFile>>> {
    let mut small: Vec<_> =
        files.iter().filter(|file| file.bytes < settings.target_bytes / 2).cloned().collect();
    if small.len() < settings.compact_at_files.max(2) {
        return Vec::new();
    }
    small.sort_by_key(|file| file.bytes);
    let mut chosen = Vec::new();
    let mut chosen_bytes = 0;
    for file in small {
        if chosen.len() >= (settings.compact_at_files / 2).max(2) && file.bytes > chosen_bytes {
            break;
        }
        chosen_bytes += file.bytes;
        chosen.push(file);
    }
    // The order in which the rows were appended stays.
    chosen.sort_by(|a, b| (a.modified_ms, &a.path).cmp(&(b.modified_ms, &b.path)));
    let mut groups: Vec<Vec<Arc<LiveFile>>> = Vec::new();
    let mut open_bytes = u64::MAX;
    for file in chosen {
        match groups.last_mut() {
            Some(group) if open_bytes.saturating_add(file.bytes) <= settings.target_bytes => {
                open_bytes += file.bytes;
                group.push(file);
            }
            _ => {
                open_bytes = file.bytes;
                groups.push(vec![file]);
            }
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// Writes the rows of some files into new ones, a batch in memory at a time. Blocking.
pub(crate) fn rewrite(
    root: &Path,
    table: &TableRef,
    schema: &SchemaRef,
    files: &[Arc<LiveFile>],
) -> Result<Vec<StagedFile>, LakeError> {
    let folder = root.join(table.to_string());
    let everything = Scan::default();
    let batches = files.iter().flat_map(|file| {
        let path = folder.join(&file.path);
        let (reader, failed) = match parquet_file::read(&path, schema, &everything) {
            Ok(reader) => (Some(reader), None),
            Err(error) => (None, Some(Err(error.of(table, &path)))),
        };
        let batches =
            reader.into_iter().flatten().map(move |batch| batch.map_err(|e| e.of(table, &path)));
        failed.into_iter().chain(batches)
    });
    let written = parquet_file::write(root, table, schema, batches)?;
    let rows: u64 = written.iter().map(|file| file.rows).sum();
    let expected: u64 = files.iter().filter_map(|file| file.statistics.rows).sum();
    if files.iter().all(|file| file.statistics.rows.is_some()) && rows != expected {
        for file in &written {
            drop(std::fs::remove_file(root.join(&file.path)));
        }
        return Err(LakeError::Damaged {
            table: table.clone(),
            path: folder,
            reason: format!("its small files hold {rows} rows, the log says {expected}"),
            source: None,
        });
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::FileStatistics;
    use proptest::prelude::*;

    fn files(sizes: &[u64]) -> Vec<Arc<LiveFile>> {
        let file = |(index, &bytes): (usize, &u64)| {
            Arc::new(LiveFile {
                path: format!("part-{index:04}"),
                bytes,
                modified_ms: index as i64,
                statistics: FileStatistics::default(),
            })
        };
        sizes.iter().enumerate().map(file).collect()
    }

    fn settings(compact_at_files: usize, target_bytes: u64) -> Maintenance {
        Maintenance { compact_at_files, target_bytes, ..Maintenance::default() }
    }

    #[test]
    fn few_small_files_stay() {
        assert!(groups(&files(&[1; 63]), &settings(64, 1_000)).is_empty());
        assert!(groups(&files(&[600; 100]), &settings(64, 1_000)).is_empty());
    }

    #[test]
    fn even_the_smallest_setting_compacts_files_of_different_sizes() {
        assert_eq!(groups(&files(&[10, 30, 90]), &settings(2, 1_000))[0].len(), 2);
        assert_eq!(groups(&files(&[10, 30, 20]), &settings(2, 1_000))[0].len(), 3);
    }

    #[test]
    fn a_large_file_waits_for_enough_small_ones() {
        let mut sizes = vec![1; 64];
        sizes.push(400);
        let groups = groups(&files(&sizes), &settings(64, 1_000));
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].len(), 64);
        assert!(groups[0].iter().all(|file| file.bytes == 1));
    }

    #[test]
    fn a_growing_table_is_rewritten_a_few_times_only_and_keeps_few_files() {
        let settings = settings(64, 1 << 20);
        let (mut live, mut rewritten, mut appended) = (Vec::new(), 0_u64, 0_u64);
        for _ in 0..20_000 {
            live.push(1_000);
            appended += 1_000;
            for group in groups(&files(&live), &settings) {
                let bytes: u64 = group.iter().map(|file| file.bytes).sum();
                rewritten += bytes;
                for file in group {
                    let at = live.iter().position(|&other| other == file.bytes).unwrap();
                    live.remove(at);
                }
                live.push(bytes);
            }
            let small = live.iter().filter(|&&bytes| bytes < 1 << 19).count();
            assert!(small < 80, "{small} small files");
        }
        assert!(rewritten < 8 * appended, "{rewritten} bytes rewritten for {appended}");
    }

    proptest! {
        #[test]
        fn groups_are_apart_ordered_and_within_the_target(
            sizes in prop::collection::vec(1_u64..2_000, 0..200),
        ) {
            let groups = groups(&files(&sizes), &settings(16, 1_000));
            let mut seen = std::collections::BTreeSet::new();
            for group in groups {
                prop_assert!(group.len() > 1);
                prop_assert!(group.iter().map(|file| file.bytes).sum::<u64>() <= 1_000);
                prop_assert!(group.is_sorted_by_key(|file| file.modified_ms));
                for file in group {
                    prop_assert!(seen.insert(file.path.clone()));
                }
            }
        }
    }
}
