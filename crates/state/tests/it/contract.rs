use state::{MemoryStore, SqliteStore, StateStore as _, contract::project};

pub(crate) fn sqlite() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("new/folder/state.db"), &project()).unwrap();
    (store, folder)
}

state::contract!(memory, (state::MemoryStore::new(state::contract::project()), ()));
state::contract!(sqlite, crate::contract::sqlite());

#[test]
fn clones_share_one_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = MemoryStore::new(project());
    let clone = store.clone();
    runtime.block_on(state::contract::cells::the_last_of_the_same_cell_wins(&store));
    let seen = runtime.block_on(clone.counts(state::contract::at(0))).unwrap();
    assert_eq!(seen.len(), 2);
}
