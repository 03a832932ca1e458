//! What a small commit costs as a table grows.

use crate::{append, numbers, prices, table};
use lake::{DeltaLake, Lake};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_commit_costs_much_the_same_at_10_and_at_300_live_files() {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    let mut took = Vec::new();
    for batch in 0..320 {
        let begun = Instant::now();
        append(&lake, batch, [batch]).await;
        took.push(begun.elapsed());
    }
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (few, many) = (median(&took[..20]), median(&took[300..]));
    println!("stage and commit of one row: {few:?} at 10 live files, {many:?} at 310");
    // Loose: the machine is shared. Reading the whole log each time would cost 20 times as much.
    assert!(many < few * 5 + Duration::from_millis(20), "{few:?} grew to {many:?}");
    assert_eq!(numbers(&lake).await.len(), 320);
}
