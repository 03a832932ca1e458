//! Each command, on a project that works.

use crate::harness::{NOW, Project, eod_source, exchange, limited_exchange, tickers};
use sim::exchange::Faults;

#[test]
fn init_makes_a_project_that_checks_and_never_overwrites_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tidewatch"))
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, stdout, _) = run(&["init", dir]);
    assert_eq!(code, 0);
    assert!(stdout.contains("eod_prices.toml"), "{stdout}");
    let (code, stdout, stderr) = run(&["check", "--dir", dir]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.contains("eod_prices: version "), "{stdout}");
    let before = std::fs::read_to_string(folder.path().join("sources/eod_prices.toml")).unwrap();
    std::fs::write(folder.path().join("sources/eod_prices.toml"), format!("{before}# mine\n"))
        .unwrap();
    let (code, _, stderr) = run(&["init", dir]);
    assert_eq!(code, 2);
    assert!(stderr.contains("nothing was written"), "{stderr}");
    assert!(
        std::fs::read_to_string(folder.path().join("sources/eod_prices.toml"))
            .unwrap()
            .ends_with("# mine\n")
    );
}

#[test]
fn check_reports_every_mistake_of_every_file_at_once_and_ends_with_2() {
    let project = Project::empty();
    project.write("sources/a.toml", "name = \"a\"\nowner = 3\nurll = \"x\"\n");
    project.write("sources/b.toml", "name = \"a\"\n[periods]\ncalendar = \"XNYZ\"\n");
    let ran = project.run(&["check"]);
    assert_eq!(ran.code, 2);
    for place in ["sources/a.toml:2:9", "sources/a.toml:3:1", "sources/b.toml:3:12"] {
        assert!(ran.stderr.contains(place), "{place} is missing in:\n{}", ran.stderr);
    }
    let listed = project.run(&["check", "--json"]);
    assert!(listed.json().as_array().unwrap().len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn try_asks_once_prints_typed_records_and_counts_its_cost() {
    let (world, exchange) = exchange(5, 3, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    let truth = world.truth().find(|truth| truth.arrived_at.is_some()).unwrap();
    let day = truth.day.to_string();
    let asked = project.ok(&["try", "eod", &truth.entity, &day, "--json", "--now", NOW]).json();
    assert_eq!(asked["outcome"], "ok");
    assert_eq!(asked["records"][0]["date"], day);
    assert_eq!(asked["status"], 200);
    assert_eq!(project.ok(&["spend", "--json"]).json()["total"], 0.25);
    let dry = project.ok(&["try", "eod", &truth.entity, &day, "--dry-run"]);
    assert!(dry.stdout.contains("would ask http://"), "{}", dry.stdout);
    assert_eq!(exchange.log().requests(), 1);
    assert!(!project.lake_path().join("data").exists(), "try writes no data");
    let unknown = project.run(&["try", "nothing", "X", "2025-11-17"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("there are: eod"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_fills_the_tables_and_every_cell_can_be_explained() {
    let faults = Faults { never: 0.05, ..Faults::NONE };
    let (world, exchange) = exchange(30, 6, faults).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    let dry = project.ok(&["run", "--once", "--dry-run", "--json", "--now", NOW]).json();
    let expected = dry[0]["due"].as_u64().unwrap();
    assert_eq!(expected, world.truth().count() as u64);
    assert_eq!(exchange.log().requests(), 0);

    project.ok(&["run", "--once", "--now", NOW]);
    let present = world.truth().filter(|truth| truth.arrived_at.is_some()).count() as u64;
    let status = project.ok(&["status", "--json", "--now", NOW]).json();
    assert_eq!(status[0]["present"], present);
    assert_eq!(status[0]["unasked"], 0);

    let there = world.truth().find(|truth| truth.arrived_at.is_some()).unwrap();
    let explained = project
        .ok(&["explain", "eod", &there.entity, &there.day.to_string(), "--json", "--now", NOW])
        .json();
    assert_eq!(explained["state"], "present");
    let steps: Vec<&str> = explained["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["what"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["due", "attempt", "cell"]);
    let attempt = &explained["timeline"][1]["fields"];
    assert_eq!(
        (attempt["status"].as_str(), attempt["outcome"].as_str()),
        (Some("200"), Some("ok"))
    );
    assert!(attempt["archive"].as_str().unwrap().contains(".warc.gz@"), "{attempt}");

    let never = world.truth().find(|truth| truth.arrived_at.is_none()).unwrap();
    let explained = project
        .ok(&["explain", "eod", &never.entity, &never.day.to_string(), "--json", "--now", NOW])
        .json();
    assert_eq!(
        (explained["state"].as_str(), explained["cause"].as_str()),
        (Some("absent"), Some("source_gap"))
    );
    assert_eq!(explained["verdict"], "truly missing");

    let holiday = project.ok(&["explain", "eod", &there.entity, "2025-11-22", "--now", NOW]);
    assert!(holiday.stdout.contains("calendar_closed"), "{}", holiday.stdout);
    let gaps = project.ok(&["cells", "eod", "--state", "absent", "--json"]).json();
    assert_eq!(
        gaps.as_array().unwrap().len(),
        world.truth().filter(|truth| truth.arrived_at.is_none()).count()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_reads_and_refuses_to_write() {
    let (world, exchange) = exchange(10, 3, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    project.ok(&["run", "--once", "--now", NOW]);
    let count = project.sql("select count(*) as n from latest.eod");
    assert_eq!(count[0]["n"].as_u64().unwrap(), world.truth().count() as u64);
    let csv = project.ok(&[
        "sql",
        "--format",
        "csv",
        "select _entity, close from eod order by 1 limit 1",
    ]);
    assert!(csv.stdout.starts_with("_entity,close"), "{}", csv.stdout);
    let nothing = project
        .ok(&["sql", "--json", "--as-of", "2020-01-01", "select count(*) as n from eod"])
        .json();
    assert_eq!(nothing[0]["n"], 0);
    for query in [
        "drop table eod",
        "copy eod to 'x.csv'",
        "insert into eod select * from eod",
        "select 1; select 2",
    ] {
        let ran = project.run(&["sql", query]);
        assert_eq!(ran.code, 2, "{query}: {}", ran.stderr);
    }
    let unknown = project.run(&["sql", "select * from prices"]);
    assert!(unknown.stderr.contains("eod"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_leaves_work_undone_and_says_so_with_3() {
    let (world, exchange) = exchange(20, 3, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, "[budget]\nper_day = 5.0"));
    project.write("tickers.csv", &tickers(&world));
    let ran = project.run(&["run", "--once", "--now", NOW]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("budget is spent"), "{}", ran.stderr);
    assert_eq!(exchange.log().requests(), 20);
    assert_eq!(project.ok(&["spend", "--json"]).json()["total"], 5.0);
    // The next day goes on where this one stopped.
    project.run(&["run", "--once", "--now", "2026-03-02T00:00:00Z"]);
    assert_eq!(exchange.log().requests(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_source_is_not_asked_until_it_is_resumed() {
    let (world, exchange) = exchange(5, 2, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    project.ok(&["pause", "eod"]);
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!(exchange.log().requests(), 0);
    project.ok(&["resume", "eod"]);
    project.ok(&["run", "--once", "--now", NOW]);
    assert_eq!(exchange.log().requests(), world.truth().count() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_asks_for_earlier_days_only() {
    let (world, exchange) = exchange(5, 8, Faults::NONE).await;
    let source =
        eod_source(&exchange, "").replace("from = \"2025-11-17\"", "from = \"2025-11-24\"");
    let project = Project::with_source("eod", &source);
    project.write("tickers.csv", &tickers(&world));
    project.ok(&["run", "--once", "--now", NOW]);
    let later = exchange.log().requests();
    let earlier =
        world.truth().filter(|truth| truth.day.to_string().as_str() < "2025-11-24").count() as u64;
    assert_eq!(later, world.truth().count() as u64 - earlier);
    let dry = project
        .ok(&["backfill", "eod", "--from", "2025-11-17", "--dry-run", "--json", "--now", NOW])
        .json();
    assert_eq!(dry["cells"], earlier);
    project.ok(&["backfill", "eod", "--from", "2025-11-17", "--now", NOW]);
    assert_eq!(exchange.log().requests(), later + earlier);
    let status = project.ok(&["status", "--json", "--now", NOW]).json();
    assert_eq!(status[0]["present"], later + earlier);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_entities_that_lost_most_of_its_lines_is_refused() {
    let (world, exchange) = exchange(40, 2, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    let list = tickers(&world);
    project.write("tickers.csv", &list);
    project.ok(&["run", "--once", "--now", NOW]);
    let cut: String = list.lines().take(6).flat_map(|row| [row, "\n"]).collect();
    project.write("tickers.csv", &cut);
    let ran = project.run(&["run", "--once", "--now", NOW]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("mass delisting"), "{}", ran.stderr);
    project.ok(&["run", "--once", "--now", NOW, "--accept-entities", "eod"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_sees_revisions_as_new_rows_and_as_of_shows_what_was_known() {
    let (world, exchange) = exchange(10, 2, Faults::NONE).await;
    let source = eod_source(&exchange, "[revisit]\nevery = \"1h\"\nuntil = \"3650d\"");
    let project = Project::with_source("eod", &source);
    project.write("tickers.csv", &tickers(&world));
    project.ok(&["run", "--once", "--now", NOW]);
    let first = exchange.log().requests();
    project.ok(&["run", "--once", "--now", "2026-03-01T02:00:00Z"]);
    assert_eq!(
        exchange.log().by_status[&304],
        first,
        "every revisit is conditional, and nothing changed"
    );
    let count = project.sql("select count(*) as n from eod");
    assert_eq!(count[0]["n"], first, "an unchanged value is not written again");
    let outcomes = project.sql(
        "select outcome, count(*) as n from ledger.attempts group by outcome order by outcome",
    );
    assert_eq!(outcomes[0]["outcome"], "not_modified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_engine_takes_changed_files_and_goes_on_when_they_are_wrong() {
    let (world, exchange) = exchange(12, 3, Faults::NONE).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    let list = tickers(&world);
    let few: String = list.lines().take(9).flat_map(|row| [row, "\n"]).collect();
    project.write("tickers.csv", &few);
    let mut engine = project.spawn(&["run", "--now", NOW]);
    let asked_at_least = |count: u64| {
        for _ in 0..400 {
            if exchange.log().requests() >= count {
                return;
            }
            crate::harness::pause(jiff::SignedDuration::from_millis(25));
        }
        panic!("{} requests of {count}", exchange.log().requests());
    };
    asked_at_least(1);
    crate::harness::pause(jiff::SignedDuration::from_secs(2));
    let before = exchange.log().requests();
    project.write("sources/broken.toml", "name = \"broken\"\nthis is not TOML\n");
    crate::harness::pause(jiff::SignedDuration::from_secs(2));
    assert!(engine.try_wait().unwrap().is_none(), "a mistake in a file must not end the engine");
    assert_eq!(exchange.log().requests(), before);
    std::fs::remove_file(project.dir().join("sources/broken.toml")).unwrap();
    project.write("tickers.csv", &list);
    asked_at_least(world.truth().count() as u64);
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &engine.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(engine.wait().unwrap().code(), Some(0));
    assert_eq!(project.sql("select count(*) as n from eod")[0]["n"], world.truth().count() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_found_kept_booked_and_remembered() {
    let (world, exchange) = limited_exchange(60, 6, Faults::NONE, 40.0).await;
    let project = Project::with_source("eod", &eod_source(&exchange, ""));
    project.write("tickers.csv", &tickers(&world));
    let nothing = project.ok(&["pace", "eod"]);
    assert!(nothing.stderr.contains("nothing was learned"), "{}", nothing.stderr);
    project.ok(&["run", "--once", "--now", NOW]);
    let log = exchange.log();
    let refused = log.by_status.get(&429).copied().unwrap_or(0);
    assert!((1..=20).contains(&refused), "{refused} of {} refused", log.requests());
    // Nothing is lost by a limit.
    let status = project.ok(&["status", "--json", "--now", NOW]).json();
    assert_eq!(status[0]["present"], world.truth().count());
    // The books agree with the server's own.
    let books = project.sql(
        "select sum(requests) as requests, sum(refused) as refused, min(scope) as scope \
         from ledger.throttles",
    );
    assert_eq!(books[0]["requests"], log.requests());
    assert_eq!(books[0]["refused"], refused);
    assert_eq!(books[0]["scope"], format!("http://{}", exchange.address));
    let decisions = project.sql("select count(*) as decisions from ledger.paces");
    assert!(decisions[0]["decisions"].as_u64() > Some(0));
    // What was learned is there for people and for the next run.
    let pace = project.ok(&["pace", "eod", "--json"]).json();
    let limit = pace["limit"].as_f64().unwrap();
    assert!((25.0..60.0).contains(&limit), "{pace}");
    assert!(project.ok(&["pace", "eod"]).stdout.contains("by hour of the week"));
    let cell = project
        .sql("select entity, period from ledger.attempts where outcome = 'rate_limited' limit 1");
    let text = |name: &str| cell[0][name].as_str().unwrap().to_owned();
    let why = project.ok(&["explain", "eod", &text("entity"), &text("period"), "--now", NOW]);
    assert!(why.stdout.contains("pace of the scope"), "{}", why.stdout);
}
