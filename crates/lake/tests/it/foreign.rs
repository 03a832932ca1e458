//! Other writers of the same table, as another lake on the same folder.

use crate::{append, eager, later, numbers, prices, rows, table};
use arrow::datatypes::{DataType, Field, Schema};
use lake::{DeltaLake, Lake, LakeError};
use std::{fs, sync::Arc};

#[tokio::test]
async fn commits_of_another_writer_are_seen_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = [(); 2].map(|()| DeltaLake::open(folder.path()).unwrap());
    ours.ensure(&table(), prices()).await.unwrap();
    for round in 0..10 {
        append(&ours, round * 2, [round * 2]).await;
        append(&theirs, round * 2 + 1, [round * 2 + 1]).await;
        assert_eq!(ours.last_batch(&table(), "engine").await.unwrap(), Some(round * 2 + 1));
    }
    assert_eq!(numbers(&ours).await, (0..20).collect::<Vec<_>>());
    let late = ours.stage(&table(), vec![rows("A", [0])]).await.unwrap();
    assert!(ours.commit(&table(), "engine", 19, &late).await.unwrap().already);
}

#[tokio::test]
async fn two_writers_at_once_both_get_through() {
    let folder = tempfile::tempdir().unwrap();
    let lakes = [(); 2].map(|()| DeltaLake::open(folder.path()).unwrap());
    lakes[0].ensure(&table(), prices()).await.unwrap();
    let write = |writer: i64| {
        let lake = &lakes[writer as usize];
        async move {
            for batch in 0..20 {
                let row = rows("A", [writer * 20 + batch]);
                let files = lake.stage(&table(), vec![row]).await.unwrap();
                let application = format!("writer-{writer}");
                lake.commit(&table(), &application, batch, &files).await.unwrap();
            }
        }
    };
    futures::join!(write(0), write(1));
    assert_eq!(numbers(&lakes[0]).await, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_log_cleaned_by_another_writer_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = [(); 2].map(|()| DeltaLake::open(folder.path()).unwrap());
    ours.ensure(&table(), prices()).await.unwrap();
    append(&ours, 0, [0]).await;
    for batch in 1..15 {
        append(&theirs, batch, [batch]).await;
        theirs.maintain(&table(), later(), &eager()).await.unwrap();
    }
    let next = folder.path().join("data/prices/_delta_log/00000000000000000002.json");
    assert!(!next.exists(), "the entry after ours is still there: the test shows nothing");
    append(&ours, 15, [15]).await;
    assert_eq!(numbers(&ours).await, (0..16).collect::<Vec<_>>());
    assert_eq!(numbers(&theirs).await, (0..16).collect::<Vec<_>>());
}

#[tokio::test]
async fn columns_that_another_writer_adds_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = [(); 2].map(|()| DeltaLake::open(folder.path()).unwrap());
    ours.ensure(&table(), prices()).await.unwrap();
    let note = |kind| Arc::new(Schema::new(vec![Field::new("note", kind, true)]));
    theirs.ensure(&table(), note(DataType::Utf8)).await.unwrap();
    let refused = ours.ensure(&table(), note(DataType::Int64)).await.unwrap_err();
    assert!(matches!(refused, LakeError::Retyped { .. }), "{refused}");
    ours.ensure(&table(), note(DataType::Utf8)).await.unwrap();
    let files = ours.files(&table()).await.unwrap().unwrap();
    assert_eq!(files.schema.fields().len(), 3);
}

#[tokio::test]
async fn a_table_with_features_unknown_here_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let lake = DeltaLake::open(folder.path()).unwrap();
    lake.ensure(&table(), prices()).await.unwrap();
    let entry = folder.path().join("data/prices/_delta_log/00000000000000000001.json");
    let upgrade = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#;
    fs::write(&entry, upgrade).unwrap();
    let refused = lake.commit(&table(), "engine", 0, &[]).await.unwrap_err();
    assert!(matches!(refused, LakeError::Unsupported { .. }), "{refused}");
    assert!(refused.to_string().contains("reader version 3"), "{refused}");
}
