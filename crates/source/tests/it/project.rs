//! A whole folder: settings, and sources in the order of their names.

use crate::{Project, SMALLEST};
use model::Money;
use source::{Settings, StateSetting};
use std::path::Path;

#[test]
fn a_project_without_settings_has_defaults() {
    let project = Project::with(&[("sources/b.toml", SMALLEST), ("sources/a.toml", SMALLEST)]);
    let loaded = project.load();
    assert!(loaded.diagnostics.0.is_empty(), "{}", loaded.diagnostics);
    let ids: Vec<_> = loaded.sources.iter().map(|source| source.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(loaded.settings, Settings::default_of(project.dir.path()));
    let folder = project.dir.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(loaded.settings.project, folder);
    assert_eq!(loaded.settings.lake, Path::new(".tidewatch/lake"));
}

#[test]
fn settings_are_read() {
    let project = Project::with(&[
        ("sources/a.toml", SMALLEST),
        (
            "tidewatch.toml",
            "project = \"p\"\nstate = \"sqlite:s.db\"\nlake = \"/data/lake\"\nuser_agent = \"x (+https://example.com)\"\n[budget]\nper_day = 3\n[commit]\nrows = 10\nbytes = \"1MiB\"\nevery = \"500ms\"\n",
        ),
    ]);
    let loaded = project.load();
    assert!(loaded.diagnostics.0.is_empty(), "{}", loaded.diagnostics);
    let settings = loaded.settings;
    assert_eq!(settings.project, "p");
    assert_eq!(settings.state, StateSetting::Sqlite("s.db".into()));
    assert_eq!(settings.lake, Path::new("/data/lake"));
    assert_eq!(settings.budget.per_day, Money::from_units(3.0));
    assert_eq!((settings.commit.rows, settings.commit.bytes), (10, 1 << 20));
}

#[test]
fn the_store_of_ids_may_have_a_password_and_never_shows_it() {
    let settings = |store: &str| {
        let project = Project::with(&[("tidewatch.toml", &format!("[ids]\n{store}\n"))]);
        source::load_settings(project.dir.path(), &crate::environment)
    };
    let place = |store: &str| {
        let settings = settings(store).unwrap();
        assert!(!format!("{settings:?}").contains("s3cr3t"), "{settings:?}");
        settings.ids_store.unwrap().reveal().to_owned()
    };
    assert_eq!(place("store = \"ids/here.db\""), "ids/here.db");
    let by_name = place("store = \"postgres://me:${EOD_TOKEN}@db/x?sslmode=verify-full\"");
    assert_eq!(by_name, "postgres://me:s3cr3t-token@db/x?sslmode=verify-full");
    assert_eq!(place("store = \"mariadb://me:s3cr3t@db/x\""), "mariadb://me:s3cr3t@db/x");
    assert_eq!(settings("").unwrap().ids_store, None);
    for (store, problem) in [
        ("store = \"\"", "`store` is empty"),
        ("store = \"oracle://me:s3cr3t@db/x\"", "`store` cannot be `oracle://...`"),
        ("store = \"postgres://me:${NOT_SET}s3cr3t@db/x\"", "`${NOT_SET}` is not set"),
        ("stoer = \"postgres://me:s3cr3t@db/x\"", "did you mean `store`"),
    ] {
        let found = settings(store).unwrap_err().to_string();
        assert!(found.contains(problem) && !found.contains("s3cr3t"), "{found}");
    }
}

#[test]
fn a_secret_file_is_read_from_the_projects_folder() {
    let project = Project::with(&[
        (
            "sources/a.toml",
            &SMALLEST.replace("[extract]\n", "auth = { bearer = \"file:token\" }\n[extract]\n"),
        ),
        ("token", "from-file\n"),
    ]);
    let loaded = project.load();
    assert!(loaded.diagnostics.0.is_empty(), "{}", loaded.diagnostics);
    let auth = loaded.sources[0].request.auth.as_ref().unwrap();
    assert!(matches!(auth, source::Auth::Bearer(token) if token.reveal() == "from-file"));
    assert_eq!(format!("{auth:?}"), "Bearer(***)");
}
