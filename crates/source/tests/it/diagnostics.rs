//! What a person reads who made a mistake.
//!
//! Long because it is a list: each mistake with its whole message.

use crate::{Project, SMALLEST, check, with};
use insta::assert_snapshot;

#[test]
fn ten_mistakes_are_reported_in_one_go() {
    assert_snapshot!(check(
        r#"name = "EOD prices"
onwer = "market-data"

[entities]
list = ["AAPL", "MSFT", "AAPL"]

[periods]
calendar = "weekday"
timezone = "Europe/Belin"
closes_at = "25:00"

[request]
url = "https://api.example.com/eod/{{ entty }}"
headers = { Authorization = "Bearer ${NO_SUCH_TOKEN}" }
cost = "free"

[extract]
format = "json"
records = "$.data[?(@.x)]"

[extract.fields]
close = { path = "$.c", type = "decimal(40,6)" }
day = { path = "$.t", type = "date" }

[expect]
key = ["entity", "date"]
"#
    ), @r#"
    sources/a.toml:1:8: error: `EOD prices` cannot be the name of a source: 'E' is not allowed in a name (a lower-case letter first, then lower-case letters, digits and `_`)
      1 | name = "EOD prices"
        |        ^^^^^^^^^^^^
      help: write `name = "eod_prices"`

    sources/a.toml:2:1: error: unknown key `onwer`
      2 | onwer = "market-data"
        | ^^^^^
      help: did you mean `owner`?

    sources/a.toml:5:25: error: `AAPL` is listed twice
      5 | list = ["AAPL", "MSFT", "AAPL"]
        |                         ^^^^^^

    sources/a.toml:8:12: error: `weekday` is not a calendar
      8 | calendar = "weekday"
        |            ^^^^^^^^^
      help: did you mean `weekdays`?

    sources/a.toml:9:12: error: `Europe/Belin` is not a time zone
      9 | timezone = "Europe/Belin"
        |            ^^^^^^^^^^^^^^
      help: did you mean `Europe/Berlin`?

    sources/a.toml:10:13: error: `periods.closes_at` is not a time of day: `25:00`
      10 | closes_at = "25:00"
         |             ^^^^^^^
      help: write it like "16:00" or "16:00:30"

    sources/a.toml:13:39: error: the template names `entty`, which does not exist
      13 | url = "https://api.example.com/eod/{{ entty }}"
         |                                       ^
      help: did you mean `{{ entity }}`?

    sources/a.toml:14:37: error: `${NO_SUCH_TOKEN}` is not set
      14 | headers = { Authorization = "Bearer ${NO_SUCH_TOKEN}" }
         |                                     ^^^^^^^^^^^^^^^^
      help: set it, for example with `export NO_SUCH_TOKEN=...`, or write `file:path`

    sources/a.toml:15:8: error: `request.cost` must be a number, found text
      15 | cost = "free"
         |        ^^^^^^

    sources/a.toml:19:19: error: filters are not supported: take all with `[*]` and filter by an expectation
      19 | records = "$.data[?(@.x)]"
         |                   ^
      help: a path is written like `$.data[*]`, `$.t` or `$['odd name'][0]`

    sources/a.toml:22:32: error: `decimal(40,6)` is not a type
      22 | close = { path = "$.c", type = "decimal(40,6)" }
         |                                ^^^^^^^^^^^^^^^
      help: write `decimal(18,6)`: 1 to 38 digits, of which so many behind the point

    sources/a.toml:26:18: error: there is no field `date`
      26 | key = ["entity", "date"]
         |                  ^^^^^^
      help: the fields are `close`, `day`
    "#);
}

#[test]
fn syntax_mistakes_do_not_hide_the_others_and_cause_no_followers() {
    assert_snapshot!(check(
        "name = \"a\nowner == 3\nname = \"b\"\n[request]\nurl = \"ftp://x/\"\n[extract]\nformat = \"json\"\n"
    ), @r#"
    sources/a.toml:1:10: error: not TOML: invalid basic string, expected `"`
      1 | name = "a
        |          ^

    sources/a.toml:2:8: error: not TOML: extra `=`, expected nothing
      2 | owner == 3
        |        ^

    sources/a.toml:2:10: error: not TOML: unexpected key or value, expected newline, `#`
      2 | owner == 3
        |          ^

    sources/a.toml:3:1: error: this key is there twice
      3 | name = "b"
        | ^^^^

    sources/a.toml:5:8: error: the URL must begin with `https://` or `http://`
      5 | url = "ftp://x/"
        |        ^
      help: write it like "https://api.example.com/{{ entity }}?date={{ period }}"
    "#);
}

#[test]
fn a_key_in_the_wrong_table_is_told_its_home() {
    let text = with("[periods]", "[periods]\nrate = 3\nurl = \"x\"");
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:5:1: error: unknown key `rate` in `[periods]`
      5 | rate = 3
        | ^^^^
      help: `rate` belongs into `[limit]`

    sources/a.toml:6:1: error: unknown key `url` in `[periods]`
      6 | url = "x"
        | ^^^
      help: `url` belongs into `[request]`
    "#);
}

#[test]
fn nouns_of_later_versions_are_named_as_such() {
    let text = with(
        "[periods]\ncalendar = \"daily\"",
        "[load]\nto = [\"lake\", \"clickhouse\"]\n[periods]\ncalendar = \"XLON\"",
    );
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:5:15: error: the destination `clickhouse` is not in this version
      5 | to = ["lake", "clickhouse"]
        |               ^^^^^^^^^^^^
      help: this version writes to `lake`

    sources/a.toml:7:12: error: the calendar `XLON` is not in this version
      7 | calendar = "XLON"
        |            ^^^^^^
      help: this version has `once`, `daily`, `weekdays`, `XNYS`
    "#);
}

#[test]
fn looks_that_cannot_be_made_are_refused_where_they_stand() {
    let text = with(
        "[periods]\ncalendar = \"daily\"",
        r##"[arrival]
head = { ready = "content_lenght > 2", cost = 0.01 }
page = { url = "https://a.example/{{ entity }}", select = "#ready >", text = "x" }
feed = { url = "https://a.example/feed", entity = "titel", pattern = "(" }
value_of_freshness = "2.0 an hour"
[periods]
calendar = "daily""##,
    );
    assert_snapshot!(check(&text), @r##"
    sources/a.toml:5:19: error: `content_lenght` means nothing in a condition
      5 | head = { ready = "content_lenght > 2", cost = 0.01 }
        |                   ^
      help: did you mean `content_length`?

    sources/a.toml:5:47: warning: this look costs no less than the request it may save (0)
      5 | head = { ready = "content_lenght > 2", cost = 0.01 }
        |                                               ^^^^
      help: remove it, or correct the `cost` of one of the two

    sources/a.toml:6:1: error: `select` and `text` exclude each other
      6 | page = { url = "https://a.example/{{ entity }}", select = "#ready >", text = "x" }
        | ^^^^
      help: write `select = "#ready li"`, `text = "(\\w+) is ready"` or `json = "$.ready[*]"`

    sources/a.toml:6:16: error: one page speaks for all entities: it cannot name one
      6 | page = { url = "https://a.example/{{ entity }}", select = "#ready >", text = "x" }
        |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      help: look at a single entity by `head`, or leave `{{ entity }}` out

    sources/a.toml:7:51: error: an entry of a feed has no `titel`
      7 | feed = { url = "https://a.example/feed", entity = "titel", pattern = "(" }
        |                                                   ^^^^^^^
      help: did you mean `title`?

    sources/a.toml:7:70: error: `(` is not a regular expression: unclosed group
      7 | feed = { url = "https://a.example/feed", entity = "titel", pattern = "(" }
        |                                                                      ^^^

    sources/a.toml:8:22: error: `2.0 an hour` is not money for a time
      8 | value_of_freshness = "2.0 an hour"
        |                      ^^^^^^^^^^^^^
      help: write it like "2.0/hour" or "0.05/minute"
    "##);
    let text = with(
        "[periods]\ncalendar = \"daily\"",
        r#"[arrival]
head = { ready = "etag_changed and" }
page = { url = "https://a.example/ready", select = "!!", cost = 0.05 }
[periods]
calendar = "once""#,
    );
    assert_snapshot!(check(&text), @r##"
    sources/a.toml:4:2: error: the calendar `once` has no period whose data could be waited for
      4 | [arrival]
        |  ^^^^^^^
      help: remove `[arrival]`, or declare `[periods]`

    sources/a.toml:5:35: error: the condition breaks off
      5 | head = { ready = "etag_changed and" }
        |                                   ^
      help: write it like `content_length > 2`, `content_length > 0.8 * usual`, `etag_changed` or `last_modified > period`

    sources/a.toml:6:52: error: `!!` is not a CSS selector
      6 | page = { url = "https://a.example/ready", select = "!!", cost = 0.05 }
        |                                                    ^^^^
      help: write it like `#ready li` or `td.symbol`

    sources/a.toml:6:65: warning: this look costs no less than the request it may save (0)
      6 | page = { url = "https://a.example/ready", select = "!!", cost = 0.05 }
        |                                                                 ^^^^
      help: remove it, or correct the `cost` of one of the two
    "##);
}

#[test]
fn what_is_missing_is_named() {
    assert_snapshot!(check("name = \"a\"\n[extract]\nformat = \"json\"\n[extract.fields]\na = {}\n"), @r#"
    sources/a.toml:1:1: error: the table `[request]` is missing
      1 | name = "a"
        | ^
      help: `request`: How one cell is asked for.

    sources/a.toml:1:1: error: the table `[entities]` is missing
      1 | name = "a"
        | ^
      help: write `[entities]` with `list = ["AAPL"]` or `file = "tickers.csv"`

    sources/a.toml:2:2: error: `records` is missing in `[extract]`
      2 | [extract]
        |  ^^^^^^^
      help: `records`: The path of the records, such as "$.data[*]".

    sources/a.toml:5:1: error: `type` is missing in `[extract.fields.a]`
      5 | a = {}
        | ^
      help: `type`: text, int, float, decimal(18,6), bool, date, timestamp or json.
    "#);
}

#[test]
fn a_crawl_delay_is_no_schedule_and_knows_no_burst() {
    let text = with("[extract]", "[limit]\ncrawl_delay = \"2h\"\nburst = 5\n[extract]");
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:11:15: error: `crawl_delay` is longer than an hour
      11 | crawl_delay = "2h"
         |               ^^^^
      help: to look seldom, declare `look_every` in `[periods]`

    sources/a.toml:11:15: error: with a `crawl_delay` no `burst` leaves at once
      11 | crawl_delay = "2h"
         |               ^^^^
      help: leave out one of the two
    "#);
}

#[test]
fn wrong_types_say_what_was_found() {
    let text = with(
        "[periods]",
        "[limit]\nrate = 0\nconcurrency = \"many\"\nburst = 0\n[retry]\nfirst = 2\nmax = \"1 hour\"\n[request.timeout]\ntotal = \"0s\"\n[periods]\nfrom = \"2026-02-30\"\ndue_after = \"-1h\"",
    );
    assert_snapshot!(check(&text.replace("[request]", "[request]\nbody_limit = \"1XB\"\nempty_status = [404, 429, \"x\"]")), @r#"
    sources/a.toml:5:8: error: `limit.rate` must be above 0, found 0
      5 | rate = 0
        |        ^
      help: to stop asking a source, set `enabled = false`

    sources/a.toml:6:15: error: `limit.concurrency` must be a whole number, found text
      6 | concurrency = "many"
        |               ^^^^^^

    sources/a.toml:7:9: error: `limit.burst` must be at least 1, found 0
      7 | burst = 0
        |         ^

    sources/a.toml:9:9: error: `retry.first` must be a duration in quotes, found a whole number
      9 | first = 2
        |         ^
      help: write it like "500ms", "2s", "30m", "36h" or "7d"

    sources/a.toml:10:7: error: `retry.max` is not a duration: `1 hour`
      10 | max = "1 hour"
         |       ^^^^^^^^
      help: write it like "500ms", "2s", "30m", "36h" or "7d"

    sources/a.toml:12:9: error: `request.timeout.total` must be longer than 0
      12 | total = "0s"
         |         ^^^^
      help: write it like "500ms", "2s", "30m", "36h" or "7d"

    sources/a.toml:14:8: error: `periods.from` is not a day of the calendar: `2026-02-30`
      14 | from = "2026-02-30"
         |        ^^^^^^^^^^^^
      help: write it like "2026-01-02"

    sources/a.toml:15:13: error: `periods.due_after` is not a duration: `-1h`
      15 | due_after = "-1h"
         |             ^^^^^
      help: write it like "500ms", "2s", "30m", "36h" or "7d"

    sources/a.toml:19:14: error: `request.body_limit` is not a size: `1XB`
      19 | body_limit = "1XB"
         |              ^^^^^
      help: write it like "500KiB", "64MiB" or "1GiB"

    sources/a.toml:20:22: error: the status 429 cannot prove emptiness
      20 | empty_status = [404, 429, "x"]
         |                      ^^^
      help: an answer that says that there is nothing is a 2xx, 400, 404 or 410

    sources/a.toml:20:27: error: `request.empty_status` must be a whole number, found text
      20 | empty_status = [404, 429, "x"]
         |                           ^^^
    "#);
}

#[test]
fn a_template_mistake_is_shown_at_its_column() {
    // The mark stands before the character that is pointed at.
    for url in [
        "https://api.example.com/{{ entity }}/{{ ‸perod }}",
        "https://api.example.com/{{ ‸entity",
        "https://api.example.com/{{ entity | ‸nosuch }}",
        "https://‸{{ entity }}.example.com/",
        "https://api.example.com/?key=‸${EOD_TOKEN}",
        "https://‸user:pass@example.com/",
        "https://example.com/a‸#{{ entity }}",
        "‸ftp://example.com/{{ entity }}",
        "‸",
        "https://‸/{{ entity }}",
        "https://api.example.com/{{ entity }}/{{ period | ‸strftime('%!') }}",
        "‸{{ entity }}",
    ] {
        let marked = with("https://api.example.com/eod/{{ entity }}?date={{ period }}", url);
        let line = marked.lines().position(|line| line.contains('‸')).unwrap();
        let column = marked.lines().nth(line).unwrap().chars().position(|c| c == '‸').unwrap();
        let found = check(&marked.replace('‸', ""));
        let place = format!("sources/a.toml:{}:{}: error: ", line + 1, column + 1);
        assert!(found.to_string().starts_with(&place), "{url}\n{place}\n{found}");
        assert_eq!(found.0.len(), 1, "{found}");
    }
    let text = with("/eod/{{ entity }}?", "/{% if entity == 'é' %}x{% endif %}/{{ ticker }}?");
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:8:70: error: the template names `ticker`, which does not exist
      8 | url = "https://api.example.com/{% if entity == 'é' %}x{% endif %}/{{ ticker }}?date={{ period }}"
        |                                                                      ^
      help: a template knows `entity`, `entities` and `period`
    "#);
}

#[test]
fn a_template_that_does_not_end_is_refused() {
    let text = with(
        "https://api.example.com/eod/{{ entity }}?date={{ period }}",
        "https://api.example.com/{% for x in 'a' * 99999 %}{% for y in 'a' * 99999 %}{% endfor %}{% endfor %}",
    );
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:8:7: error: the template fails: it takes more than 20000 steps
      8 | url = "https://api.example.com/{% for x in 'a' * 99999 %}{% for y in 'a' * 99999 %}{% endfor %}{% endfor %}"
        |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    sources/a.toml:8:7: warning: the same request would be sent for each of 2 entities
      8 | url = "https://api.example.com/{% for x in 'a' * 99999 %}{% for y in 'a' * 99999 %}{% endfor %}{% endfor %}"
        |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      help: write `{{ entity }}` where the entity belongs
    "#);
}

#[test]
fn a_path_mistake_is_shown_at_its_column() {
    let text = with("records = \"$.data[*]\"", "records = '$.data[?]'\nempty = \"$.total = 0\"");
    assert_snapshot!(check(&text.replace("$.c\"", "$.\\u0063 x\"")), @r#"
    sources/a.toml:12:19: error: filters are not supported: take all with `[*]` and filter by an expectation
      12 | records = '$.data[?]'
         |                   ^
      help: a path is written like `$.data[*]`, `$.t` or `$['odd name'][0]`

    sources/a.toml:13:18: error: a comparison is missing: `==`, `!=`, `<`, `<=`, `>` or `>=`
      13 | empty = "$.total = 0"
         |                  ^
      help: a path is written like `$.data[*]`, `$.t` or `$['odd name'][0]`

    sources/a.toml:16:27: error: unexpected ` `: a path continues with `.name`, `['name']`, `[0]` or `[*]`
      16 | close = { path = "$.\u0063 x", type = "decimal(18,6)" }
         |                           ^
      help: a path is written like `$.data[*]`, `$.t` or `$['odd name'][0]`
    "#);
}

#[test]
fn expectations_are_checked_against_the_fields() {
    let mut text = SMALLEST.trim_start().to_owned();
    text.push_str(
        r#"day = { type = "date" }
tag = { type = "text" }

[expect]
records_per_cell = { min = 2, max = 1 }
key = ["entity", "day", "day", "dya"]
checks = [
    { not_null = "clsoe" },
    { between = { field = "close", min = 10, max = -0.5 } },
    { between = { field = "close", min = "1e5" } },
    { between = { field = "day", min = 2026-02-01, max = "yesterday" } },
    { between = { field = "day" } },
    { one_of = { field = "close", values = ["many", 1] } },
    { matches = { field = "close", pattern = "x" } },
    { matches = { field = "tag", pattern = "a(b" } },
    { equals_period = "close" },
    { not_null = "day", equals_period = "day" },
    { not_nul = "day" },
    {},
]
"#,
    );
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:20:20: error: `max` is below `min`
      20 | records_per_cell = { min = 2, max = 1 }
         |                    ^^^^^^^^^^^^^^^^^^^^

    sources/a.toml:21:25: error: `day` is there twice
      21 | key = ["entity", "day", "day", "dya"]
         |                         ^^^^^

    sources/a.toml:21:32: error: there is no field `dya`
      21 | key = ["entity", "day", "day", "dya"]
         |                                ^^^^^
      help: did you mean `day`?

    sources/a.toml:23:18: error: there is no field `clsoe`
      23 |     { not_null = "clsoe" },
         |                  ^^^^^^^
      help: did you mean `close`?

    sources/a.toml:24:42: error: `min` 10 is above `max` -0.5: no value lies between
      24 |     { between = { field = "close", min = 10, max = -0.5 } },
         |                                          ^^

    sources/a.toml:25:42: error: `1e5` is not a value of `close`, which is decimal(18,6)
      25 |     { between = { field = "close", min = "1e5" } },
         |                                          ^^^^^

    sources/a.toml:26:58: error: `yesterday` is not a value of `day`, which is date
      26 |     { between = { field = "day", min = 2026-02-01, max = "yesterday" } },
         |                                                          ^^^^^^^^^^^

    sources/a.toml:27:27: error: `between` needs `min` or `max`
      27 |     { between = { field = "day" } },
         |                           ^^^^^

    sources/a.toml:28:45: error: `many` is not a value of `close`, which is decimal(18,6)
      28 |     { one_of = { field = "close", values = ["many", 1] } },
         |                                             ^^^^^^

    sources/a.toml:29:27: error: `close` is decimal(18,6), this check is for text
      29 |     { matches = { field = "close", pattern = "x" } },
         |                           ^^^^^^^

    sources/a.toml:30:44: error: not a regular expression: unclosed group
      30 |     { matches = { field = "tag", pattern = "a(b" } },
         |                                            ^^^^^
      help: patterns are those of the `regex` crate; back references and look-around are not

    sources/a.toml:31:23: error: `close` is decimal(18,6), this check is for date, timestamp or text
      31 |     { equals_period = "close" },
         |                       ^^^^^^^

    sources/a.toml:32:5: error: a check has one key
      32 |     { not_null = "day", equals_period = "day" },
         |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      help: write `{ not_null = "close" }, { ... }`

    sources/a.toml:33:7: error: unknown key `not_nul` in `[expect.checks]`
      33 |     { not_nul = "day" },
         |       ^^^^^^^
      help: did you mean `not_null`?

    sources/a.toml:34:5: error: the check is empty
      34 |     {},
         |     ^^
    "#);
}

#[test]
fn secrets_are_by_reference_and_never_printed() {
    let text = with(
        "[extract]",
        r#"[request.headers]
Authorization = "Bearer abcdefgh123"
X-Api-Key = "${EMPTY}"
X-Two = "${TWO_LINES} and ${1X}"
X-File = "file:no/such/file"
X-Open = "a${b"
Host = "example.com"
"X Y" = "z"
accept = "{{ entity }}"
Accept = "*/*"

[extract]"#,
    );
    let found = check(&text);
    assert!(!found.to_string().contains("abcdefgh123"));
    assert!(!serde_json::to_string(&found).unwrap().contains("abcdefgh123"));
    assert_snapshot!(found, @r#"
    sources/a.toml:11:17: warning: the value of `Authorization` looks like a secret that stands in the file
      11 | Authorization = ********************
         |                 ^^^^^^^^^^^^^^^^^^^^
      help: put it into the environment and write Authorization = "${NAME}"

    sources/a.toml:12:14: error: `${EMPTY}` is set, but its value is empty
      12 | X-Api-Key = "${EMPTY}"
         |              ^^^^^^^^
      help: set it, for example with `export EMPTY=...`, or write `file:path`

    sources/a.toml:13:10: error: `${TWO_LINES}` is set, but its value has a line break or another control character
      13 | X-Two = "${TWO_LINES} and ${1X}"
         |          ^^^^^^^^^^^^
      help: set it, for example with `export TWO_LINES=...`, or write `file:path`

    sources/a.toml:13:27: error: `${1X}` is not the name of a variable
      13 | X-Two = "${TWO_LINES} and ${1X}"
         |                           ^^^^^
      help: write a variable of the environment as `${NAME}`

    sources/a.toml:14:10: error: the secret `file:no/such/file` cannot be read: No such file or directory (os error 2)
      14 | X-File = "file:no/such/file"
         |          ^^^^^^^^^^^^^^^^^^^
      help: the path counts from the project's folder

    sources/a.toml:15:12: error: the closing `}` is missing
      15 | X-Open = "a${b"
         |            ^
      help: write `${NAME}`, or `$${` for a literal `${`

    sources/a.toml:16:1: error: the header `Host` cannot be set
      16 | Host = "example.com"
         | ^^^^
      help: it is written with each request as needed

    sources/a.toml:17:1: error: `X Y` is not the name of a header
      17 | "X Y" = "z"
         | ^^^^^
      help: letters, digits and `-`

    sources/a.toml:18:11: error: a header cannot have a template
      18 | accept = "{{ entity }}"
         |           ^
      help: templates are for `url` and `body`
    "#);
    let text = with(
        "[extract]",
        "auth = { basic = { user = \"u\", password = \"hunter2hunter2\" } }\n[extract]",
    );
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:10:43: error: `password` is a secret and cannot stand in the file
      10 | auth = { basic = { user = "u", password = **************** } }
         |                                           ^^^^^^^^^^^^^^^^
      help: put it into the environment and write `password = "${NAME}"`
    "#);
}

#[test]
fn a_request_that_cannot_work_is_refused() {
    assert_snapshot!(check(&with("[extract]", "method = \"post\"\nauth = {}\n[extract]")), @r#"
    sources/a.toml:10:10: error: `post` is not a method of this version
      10 | method = "post"
         |          ^^^^^^
      help: write "POST"

    sources/a.toml:11:1: error: `auth` needs `bearer` or `basic`
      11 | auth = {}
         | ^^^^
      help: write `auth = { bearer = "${NAME}" }`
    "#);
    assert_snapshot!(check(&with("[extract]", "method = \"POST\"\n[extract]")), @r#"
    sources/a.toml:10:10: error: a POST needs a `body`
      10 | method = "POST"
         |          ^^^^^^
      help: write `body = "..."`; it may be empty
    "#);
    assert_snapshot!(check(&with("[extract]", "body = \"x\"\ntimeout = { connect = \"9s\", total = \"5s\" }\n[extract]")), @r#"
    sources/a.toml:10:1: error: a GET has no `body`
      10 | body = "x"
         | ^^^^
      help: write `method = "POST"`

    sources/a.toml:11:23: error: `connect` is longer than the `total` of 5 s
      11 | timeout = { connect = "9s", total = "5s" }
         |                       ^^^^
    "#);
    assert_snapshot!(check(&with("[extract]", "method = \"POST\"\nbody = \"x\"\n[extract]")), @r#"
    sources/a.toml:11:8: error: a body needs a `Content-Type`
      11 | body = "x"
         |        ^^^
      help: write `headers = { Content-Type = "application/json" }`, or what it is
    "#);
}

#[test]
fn an_impossible_calendar_is_refused() {
    assert_snapshot!(check(&with("calendar = \"daily\"", "calendar = \"once\"\ncloses_at = \"16:00\"\nfrom = 2026-01-01")), @r#"
    sources/a.toml:6:1: error: the calendar `once` has no `closes_at`
      6 | closes_at = "16:00"
        | ^^^^^^^^^
      help: remove it, or choose `daily`

    sources/a.toml:7:1: error: the calendar `once` has no `from`
      7 | from = 2026-01-01
        | ^^^^
      help: remove it, or choose `daily`
    "#);
    assert_snapshot!(check(&with("calendar = \"daily\"", "calendar = \"daily\"\nfile = \"expected.csv\"")), @r#"
    sources/a.toml:6:8: error: `calendar` and `file` exclude each other
      6 | file = "expected.csv"
        |        ^^^^^^^^^^^^^^
      help: a file lists the expected pairs of entity and period by itself

    sources/a.toml:6:8: error: `expected.csv`: the file cannot be read: No such file or directory (os error 2)
      6 | file = "expected.csv"
        |        ^^^^^^^^^^^^^^
      help: the path counts from the project's folder
    "#);
    assert_snapshot!(check(&with("calendar = \"daily\"", "calendar = \"daily\"\ntimezone = \"Berlin\"\nlook_every = \"2h\"\nlook_every_max = \"1h\"\ngive_up_after = \"1h\"")), @r#"
    sources/a.toml:6:12: error: `Berlin` is not a time zone
      6 | timezone = "Berlin"
        |            ^^^^^^^^
      help: did you mean `Europe/Berlin`?

    sources/a.toml:8:18: error: `look_every_max` is shorter than `look_every`
      8 | look_every_max = "1h"
        |                  ^^^^

    sources/a.toml:9:17: error: `give_up_after` is shorter than `look_every`: there would be one look
      9 | give_up_after = "1h"
        |                 ^^^^
    "#);
    assert_snapshot!(check(&with("calendar = \"daily\"", "")), @r#"
    sources/a.toml:4:2: error: `[periods]` needs `calendar` or `file`
      4 | [periods]
        |  ^^^^^^^
      help: write `calendar = "daily"`; others are `once`, `weekdays`, `XNYS`
    "#);
}

#[test]
fn sources_are_compared_with_each_other() {
    let named = with("[entities]", "name = \"prices\"\n[entities]");
    let other_type = with(
        "[extract.fields]",
        "[load]\ntable = \"prices\"\n[expect]\nkey = [\"close\"]\n[extract.fields]",
    )
    .replace("decimal(18,6)", "float");
    let project = Project::with(&[
        ("sources/a.toml", &named),
        ("sources/b.toml", &named),
        ("sources/c.toml", &other_type),
        ("sources/Daily Prices.toml", &with("list", "lst")),
        (
            "tidewatch.toml",
            "lake = \"s3://bucket/key\"\nstate = \"postgres://u:pw@h/db\"\narchive = \".tidewatch/lake/a\"\n[comit]\n[budget]\nper_day = -1\n",
        ),
    ]);
    let loaded = project.load();
    assert_eq!(loaded.sources.len(), 1);
    assert!(!loaded.diagnostics.to_string().contains("pw@h"));
    assert_snapshot!(loaded.diagnostics, @r#"
    sources/Daily Prices.toml:1:1: error: `Daily Prices` cannot be the name of a source: 'D' is not allowed in a name (a lower-case letter first, then lower-case letters, digits and `_`)
      1 | [entities]
        | ^
      help: write `name = "daily_prices"`

    sources/Daily Prices.toml:2:1: error: unknown key `lst` in `[entities]`
      2 | lst = ["AAPL", "MSFT"]
        | ^^^
      help: did you mean `list`?

    sources/b.toml:1:8: error: the name `prices` is taken by `sources/a.toml`
      1 | name = "prices"
        |        ^^^^^^^^
      help: each source has a name of its own

    sources/c.toml:17:1: error: the key differs from that in `sources/a.toml`, but both write the table `prices`
      17 | key = ["close"]
         | ^^^
      help: give both the same `[expect] key`, or one of them another `[load] table`

    sources/c.toml:19:32: error: `close` is float here and decimal(18,6) in `sources/a.toml`, but both write the table `prices`
      19 | close = { path = "$.c", type = "float" }
         |                                ^^^^^^^
      help: give both the same type, or one of them another `[load] table`

    tidewatch.toml:1:8: error: `lake`: `s3://` is not built in this version
      1 | lake = *****************
        |        ^^^^^^^^^^^^^^^^^
      help: write a path on this machine, or leave it out

    tidewatch.toml:2:9: error: `state`: `postgres://` is not built in this version
      2 | state = **********************
        |         ^^^^^^^^^^^^^^^^^^^^^^
      help: write a path on this machine, or leave it out

    tidewatch.toml:3:11: error: `archive` and `lake` lie in one another
      3 | archive = ".tidewatch/lake/a"
        |           ^^^^^^^^^^^^^^^^^^^

    tidewatch.toml:4:2: error: unknown key `comit`
      4 | [comit]
        |  ^^^^^
      help: did you mean `commit`?

    tidewatch.toml:6:11: error: `budget.per_day` must be between 0 and 10^12, found -1
      6 | per_day = -1
        |           ^^
    "#);
}

#[test]
fn each_bad_line_of_a_csv_file_is_reported() {
    let project = Project::with(&[(
        "sources/a.toml",
        &with("list = [\"AAPL\", \"MSFT\"]", "file = \"tickers.csv\""),
    )]);
    let file = "\u{feff}entity,listed_from,listed_untill\r\nAAPL,2020-01-01,\r\n\"B,C\",2020-13-01,\r\nAAPL,,\r\nMSFT\r\n\r\n,,\r\nIBM,\"2021-01-01\",2020-01-01\r\n";
    project.write("tickers.csv", file.as_bytes());
    assert_snapshot!(project.load().diagnostics, @r#"
    tickers.csv:1:20: warning: the column `listed_untill` is not read
      1 | entity,listed_from,listed_untill
        |                    ^^^^^^^^^^^^^
      help: did you mean `listed_until`?

    tickers.csv:3:7: error: `2020-13-01` is not a day of the calendar
      3 | "B,C",2020-13-01,
        |       ^^^^^^^^^^
      help: write it like 2026-01-02, or leave it empty

    tickers.csv:4:1: error: `AAPL` is listed twice
      4 | AAPL,,
        | ^^^^

    tickers.csv:5:1: error: 3 values are expected, found 1
      5 | MSFT
        | ^^^^

    tickers.csv:7:1: error: not an entity: the name is empty
      7 | ,,
        | ^
    "#);
    project.write("tickers.csv", file.replace("untill", "until").as_bytes());
    let found = project.load().diagnostics;
    assert_eq!(found.0.iter().filter(|d| d.line == 8).count(), 1, "{found}");
    assert!(
        found.to_string().contains("tickers.csv:8:18: error: `IBM` is listed until"),
        "{found}"
    );
    project.write("tickers.csv", b"AAPL\nMSFT\n");
    assert_snapshot!(project.load().diagnostics, @r#"
    tickers.csv:1:1: error: the column `entity` is missing
      1 | AAPL
        | ^^^^
      help: the first line names the columns `entity`, `listed_from`, `listed_until`
    "#);
    project.write("tickers.csv", b"");
    assert_snapshot!(project.load().diagnostics, @"tickers.csv:1:1: error: the file is empty; its first line must name the columns `entity`, `listed_from`, `listed_until`");
    std::fs::remove_file(project.dir.path().join("tickers.csv")).unwrap();
    assert_snapshot!(project.load().diagnostics, @r#"
    sources/a.toml:2:8: error: `tickers.csv`: the file cannot be read: No such file or directory (os error 2)
      2 | file = "tickers.csv"
        |        ^^^^^^^^^^^^^
      help: the path counts from the project's folder
    "#);
}

#[test]
fn each_bad_pair_of_a_file_is_reported() {
    let project = Project::with(&[(
        "sources/a.toml",
        &with("calendar = \"daily\"", "file = \"expected.csv\""),
    )]);
    project.write(
        "expected.csv",
        b"source,key,period\nx,AAPL,2026-01-02\nx,IBM,2026-01-02\nx,MSFT,tomorrow\n",
    );
    assert_snapshot!(project.load().diagnostics, @r#"
    expected.csv:3:3: error: `IBM` is not one of the source's entities
      3 | x,IBM,2026-01-02
        |   ^^^
      help: add it to `[entities]`, or remove that table

    expected.csv:4:8: error: `tomorrow` is not a period: write a day as `2026-11-19`, a week as `2026-W47`, a month as `2026-11`, an hour as `2026-11-19T19:00Z`, or `once`
      4 | x,MSFT,tomorrow
        |        ^^^^^^^^
    "#);
}

#[test]
fn a_warning_leaves_the_source_usable() {
    let text = with("[extract]", "[budget]\nper_day = 10\n[extract]");
    assert_snapshot!(check(&text), @r#"
    sources/a.toml:11:11: warning: this budget bounds nothing: a request costs 0
      11 | per_day = 10
         |           ^^
      help: write `cost = 1.0` into `[request]` to count requests
    "#);
}

#[test]
fn a_request_that_is_the_same_for_all_entities_is_suspicious() {
    assert_snapshot!(check(&with("/eod/{{ entity }}?", "/eod?")), @r#"
    sources/a.toml:8:7: warning: the same request would be sent for each of 2 entities
      8 | url = "https://api.example.com/eod?date={{ period }}"
        |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      help: write `{{ entity }}` where the entity belongs
    "#);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_move_nothing() {
    let text = with("[periods]", "onwer = 1\n[periods]").replace('\n', "\r\n");
    assert_snapshot!(check(&format!("\u{feff}x = 1\r\n{text}")), @r#"
    sources/a.toml:1:1: error: unknown key `x`
      1 | x = 1
        | ^
      help: known here: `name`, `owner`, `description`, `enabled`, `entities`, `periods`, `request`, `limit`, `budget`, `extract`, `expect`, `load`, `revisit`, `retry`, `arrival`

    sources/a.toml:5:1: error: unknown key `onwer` in `[entities]`
      5 | onwer = 1
        | ^^^^^
      help: known here: `list`, `file`
    "#);
}

#[test]
fn an_amount_is_exact_or_refused() {
    assert_snapshot!(check(&with("[extract]", "cost = 0.0000001\n[extract]")), @r#"
    sources/a.toml:10:8: error: `request.cost` is exact to 6 digits behind the point, found 0.0000001
      10 | cost = 0.0000001
         |        ^^^^^^^^^
    "#);
    assert!(check(&with("[extract]", "cost = 2.5e-4\n[extract]")).0.is_empty());
}
