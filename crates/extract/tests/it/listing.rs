//! Names on pages and feeds, and pages that mean no good.

use extract::{Listed, Lister, NAMES_LIMIT};
use jiff::Timestamp;
use model::{
    listing::{EntityFrom, FeedField, Listing},
    path::Path,
};

fn read(listing: &Listing, body: &str) -> Result<Listed, String> {
    Lister::new(listing).unwrap().read(body.as_bytes())
}

fn names(listing: &Listing, body: &str) -> Vec<String> {
    read(listing, body).unwrap().names.into_keys().collect()
}

fn select(selector: &str, attribute: Option<&str>, pattern: Option<&str>) -> Listing {
    Listing::Select {
        selector: selector.to_owned(),
        entity: attribute.map_or(EntityFrom::Text, |name| EntityFrom::Attribute(name.to_owned())),
        pattern: pattern.map(str::to_owned),
    }
}

#[test]
fn a_selector_finds_texts_and_attributes() {
    let page = "<ul id=ready><li> AAPL <li data-s='BRK/B'>Berkshire (BRK.B)<li></ul><li>MSFT";
    let ready = |attribute, pattern| names(&select("#ready li", attribute, pattern), page);
    assert_eq!(ready(None, None), ["AAPL", "Berkshire (BRK.B)"]);
    assert_eq!(ready(Some("data-s"), None), ["BRK/B"]);
    assert_eq!(ready(None, Some(r"\(([A-Z.]+)\)")), ["BRK.B"]);
    assert!(names(&select("#other li", None, None), page).is_empty());
    assert!(Lister::new(&select("li:", None, None)).is_err());
}

#[test]
fn a_text_names_by_its_group_or_speaks_for_all() {
    let text = |pattern: &str| Listing::Text { pattern: pattern.to_owned() };
    let body = "AAPL is ready. MSFT is ready. NVDA is late.";
    assert_eq!(names(&text(r"(\w+) is ready"), body), ["AAPL", "MSFT"]);
    assert!(read(&text("NVDA is late"), body).unwrap().all);
    assert!(!read(&text("all is ready"), body).unwrap().all);
}

#[test]
fn json_gives_values_and_keys_that_are_true() {
    let json = |path: &str, body: &str| {
        read(&Listing::Json { path: Path::parse(path).unwrap() }, body).map(|it| it.names)
    };
    let found = |path, body| json(path, body).unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(found("$.ready[*]", r#"{"ready":["B","A",7,null,{"A":1}]}"#), ["7", "A", "B"]);
    assert_eq!(found("$.r[*].s", r#"{"r":[{"s":"A"},{"t":"B"},[]]}"#), ["A"]);
    assert_eq!(found("$.r", r#"{"r":{"A":true,"B":false,"C":1}}"#), ["A"]);
    assert!(found("$.none[*]", "{}").is_empty());
    assert!(json("$", "<html>").unwrap_err().starts_with("not JSON"));
}

#[test]
fn feeds_of_both_kinds_name_by_words_links_and_guids() {
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let feed =
        |field, pattern: Option<&str>| Listing::Feed { field, pattern: pattern.map(str::to_owned) };
    let rss = "<rss><channel><title>NOT one</title><item><title>EOD: BRK-B &amp; T</title>\
        <link>https://a.example/?s=BRK-B&amp;d=1</link><guid>g-1</guid>\
        <pubDate>Mon, 02 Mar 2026 00:30:00 GMT</pubDate></item></channel></rss>";
    let listed = read(&feed(FeedField::Title, None), rss).unwrap();
    assert_eq!(listed.names["BRK-B"], at("2026-03-02T00:30:00Z"));
    assert!(listed.names.contains_key("T") && !listed.names.contains_key("NOT"), "{listed:?}");
    assert_eq!(names(&feed(FeedField::Link, Some("s=([A-Z-]+)")), rss), ["BRK-B"]);
    assert_eq!(names(&feed(FeedField::Guid, Some(".+")), rss), ["g-1"]);
    let atom = "<feed xmlns='http://www.w3.org/2005/Atom'><entry><title>A</title>\
        <link href='https://a.example/A'/><id>urn:A</id><updated>2026-03-02T01:00:00Z</updated>\
        </entry></feed>";
    let listed = read(&feed(FeedField::Link, Some("/([A-Z])$")), atom).unwrap();
    assert_eq!(listed.names["A"], at("2026-03-02T01:00:00Z"));
    for broken in ["", "<html><p>x", "{}", "<rss><item", "\u{0}"] {
        assert!(read(&feed(FeedField::Title, None), broken).is_err(), "{broken}");
    }
    let deep = format!("<rss>{}", "<x>".repeat(100_000));
    assert!(read(&feed(FeedField::Title, None), &deep).unwrap_err().contains("deeper"));
}

#[test]
fn absurd_pages_are_bounded() {
    let many =
        (0..NAMES_LIMIT + 10).map(|at| format!("<li>{at}</li>")).collect::<Vec<_>>().concat();
    assert_eq!(names(&select("li", None, None), &many).len(), NAMES_LIMIT);
    let long = format!("<li>{}</li><li>A</li>", "x".repeat(100_000));
    assert_eq!(names(&select("li", None, None), &long), ["A"]);
    let deep = format!("{}<li>A", "<div>".repeat(300_000));
    assert!(read(&select("li", None, None), &deep).is_err());
    // Lists and tables whose elements are never closed are usual.
    let open = (0..5_000).map(|at| format!("<tr><td>{at}")).collect::<Vec<_>>().concat();
    assert_eq!(names(&select("td", None, None), &format!("<table>{open}")).len(), 5_000);
}
