//! Every key of every file, once: the reader, the "did you mean" and the JSON Schema come from it.

/// A table of a file.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its keys in the order of the documentation.
    pub(crate) keys: &'static [Key],
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// What it is for, in one sentence.
    pub(crate) about: &'static str,
}

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    Flag,
    /// A whole number between two bounds.
    Count {
        min: i64,
        max: i64,
    },
    /// A number above 0.
    Rate,
    /// A number that is not negative, exact to a millionth.
    Amount,
    /// Above 0.
    Duration,
    DurationOrZero,
    /// Bytes, above 0.
    Size,
    Date,
    Time,
    /// A text, number or date, kept as written.
    Scalar,
    List(&'static Kind),
    Section(&'static Section),
    /// A table whose keys are the user's names.
    Named(&'static Kind),
    /// A whole number, or a table.
    CountOr(&'static Section),
    /// Known, but not built in this version.
    Later,
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, required: false, about }
}

const fn required(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, required: true, about }
}

const fn later(name: &'static str) -> Key {
    key(name, Kind::Later, "")
}

const COUNT_LIMIT: i64 = 1_000_000_000_000;

/// `sources/*.toml`
pub(crate) static SOURCE: Section = Section {
    keys: &[
        key(
            "name",
            Kind::Text,
            "The source's name, unique in the project (default: the file's name).",
        ),
        key("owner", Kind::Text, "Who answers for this source."),
        key("description", Kind::Text, "What the source is."),
        key("enabled", Kind::Flag, "Whether the engine asks this source (default: true)."),
        key("entities", Kind::Section(&ENTITIES), "Which things the source has data of."),
        key(
            "periods",
            Kind::Section(&PERIODS),
            "When data of each entity is expected (default: once).",
        ),
        required("request", Kind::Section(&REQUEST), "How one cell is asked for."),
        key("limit", Kind::Section(&LIMIT), "How fast the server may be asked."),
        key("budget", Kind::Section(&BUDGET), "What may be spent."),
        required("extract", Kind::Section(&EXTRACT), "What is taken from an answer."),
        key("expect", Kind::Section(&EXPECT), "What the records are expected to be."),
        key("load", Kind::Section(&LOAD), "Where the records go."),
        key("revisit", Kind::Section(&REVISIT), "When cells that have data are looked at again."),
        key("retry", Kind::Section(&RETRY), "How failed requests are repeated."),
        key("arrival", Kind::Section(&ARRIVAL), "How to look before paying."),
        later("rollout"),
        later("paginate"),
        later("pagination"),
        later("robots"),
    ],
};

pub(crate) static ENTITIES: Section = Section {
    keys: &[
        key("list", Kind::List(&Kind::Text), "The entities, written out."),
        key("file", Kind::Text, "A CSV file with the columns entity, listed_from, listed_until."),
        later("discover"),
    ],
};

pub(crate) static PERIODS: Section = Section {
    keys: &[
        key("calendar", Kind::Text, "once, daily, weekdays or XNYS."),
        key("file", Kind::Text, "A CSV file (or .csv.gz) of the expected pairs: entity, period."),
        key("closes_at", Kind::Time, "The time of day at which a period ends, such as \"16:00\"."),
        key(
            "timezone",
            Kind::Text,
            "The zone of `closes_at`, such as \"America/New_York\" (default: UTC).",
        ),
        key(
            "due_after",
            Kind::DurationOrZero,
            "How long after its end a period is due (default: 0s).",
        ),
        key("from", Kind::Date, "The first day that is expected."),
        key(
            "give_up_after",
            Kind::Duration,
            "How long after it is due a cell is looked for (default: 7d; of `once`: for ever).",
        ),
        key(
            "look_every",
            Kind::Duration,
            "The first pause between two looks at a cell without data (default: 30m).",
        ),
        key("look_every_max", Kind::Duration, "The longest such pause (default: 6h)."),
        later("cron"),
    ],
};

pub(crate) static REQUEST: Section = Section {
    keys: &[
        required(
            "url",
            Kind::Text,
            "The address, with {{ entity }} (or {{ entities }}) and {{ period }}.",
        ),
        key("method", Kind::Text, "GET or POST (default: GET)."),
        key("body", Kind::Text, "The body of a POST, with {{ entity }} and {{ period }}."),
        key("headers", Kind::Named(&Kind::Text), "Header fields; secrets as ${NAME} or file:path."),
        key("auth", Kind::Section(&AUTH), "How the request is authorised."),
        key("cost", Kind::Amount, "The price of one request (default: 0)."),
        key("timeout", Kind::Section(&TIMEOUT), "How long is waited."),
        key("body_limit", Kind::Size, "The most bytes received (default: 1GiB)."),
        key("decoded_limit", Kind::Size, "The most bytes after decompression (default: 4GiB)."),
        key(
            "html_limit",
            Kind::Size,
            "The most bytes of a page that should have been data (default: 1MiB).",
        ),
        key(
            "redirects_max",
            Kind::Count { min: 0, max: 20 },
            "The most redirects followed (default: 5).",
        ),
        key(
            "empty_status",
            Kind::List(&Kind::Count { min: 100, max: 599 }),
            "The status codes by which this server says that there is nothing.",
        ),
        key("conditional", Kind::Flag, "Whether to ask \"still the same?\" (default: true)."),
        key(
            "max_entities",
            Kind::Count { min: 2, max: 10_000 },
            "The most entities of one request, for {{ entities | join(',') }} (default: one each).",
        ),
        later("query"),
        later("pages"),
        later("paginate"),
    ],
};

pub(crate) static AUTH: Section = Section {
    keys: &[
        key("bearer", Kind::Text, "A token: \"${NAME}\" or \"file:path\"."),
        key("basic", Kind::Section(&BASIC), "A user and a password."),
        later("oauth2"),
    ],
};

pub(crate) static BASIC: Section = Section {
    keys: &[
        required("user", Kind::Text, "The user; may be a secret."),
        required("password", Kind::Text, "The password: \"${NAME}\", \"file:path\" or \"\"."),
    ],
};

pub(crate) static TIMEOUT: Section = Section {
    keys: &[
        key("connect", Kind::Duration, "For a connection (default: 10s)."),
        key("idle", Kind::Duration, "Without a byte (default: 30s)."),
        key("total", Kind::Duration, "For the whole answer (default: 300s)."),
    ],
};

pub(crate) static LIMIT: Section = Section {
    keys: &[
        key("rate", Kind::Rate, "Requests per second (default: as fast as the answers come)."),
        key(
            "burst",
            Kind::Count { min: 1, max: 100_000 },
            "Requests at once after a pause (default: 1).",
        ),
        key(
            "concurrency",
            Kind::Count { min: 1, max: 10_000 },
            "Requests in flight (default: 64; without `learn` 8).",
        ),
        key(
            "crawl_delay",
            Kind::Duration,
            "The least time from one request to the next, at most 1h (default: none).",
        ),
        key(
            "scope",
            Kind::Text,
            "A name that sources with the same limit share (default: server and credential).",
        ),
        key(
            "learn",
            Kind::Flag,
            "Whether to find out beneath these how fast the server may be asked (default: true).",
        ),
        key(
            "prefer_open_hours",
            Kind::Flag,
            "Whether backfill waits for hours that let more through (default: false).",
        ),
    ],
};

const PER_DAY: Key = key("per_day", Kind::Amount, "The most that is spent in a day (UTC).");
const PER_MONTH: Key = key("per_month", Kind::Amount, "The most that is spent in a month (UTC).");

pub(crate) static BUDGET: Section = Section {
    keys: &[
        key("per_period", Kind::Amount, "The most that is spent on the cells of one period."),
        PER_DAY,
        PER_MONTH,
    ],
};

pub(crate) static SETTINGS_BUDGET: Section = Section { keys: &[PER_DAY, PER_MONTH] };

pub(crate) static EXTRACT: Section = Section {
    keys: &[
        required("format", Kind::Text, "json."),
        required("records", Kind::Text, "The path of the records, such as \"$.data[*]\"."),
        key("empty", Kind::Text, "What proves an empty answer, such as \"$.total == 0\"."),
        key(
            "entity_field",
            Kind::Text,
            "The field that names a record's entity, where a request asks for many.",
        ),
        key("record_limit", Kind::Size, "The most bytes of one record (default: 16MiB)."),
        key("depth_limit", Kind::Count { min: 1, max: 512 }, "The deepest nesting (default: 64)."),
        required("fields", Kind::Named(&Kind::Section(&FIELD)), "The columns, in order."),
    ],
};

pub(crate) static FIELD: Section = Section {
    keys: &[
        key("path", Kind::Text, "Where it stands in a record (default: $.NAME)."),
        required(
            "type",
            Kind::Text,
            "text, int, float, decimal(18,6), bool, date, timestamp or json.",
        ),
        key("missing_values", Kind::List(&Kind::Scalar), "Values that mean \"none\"."),
        key("optional", Kind::Flag, "Whether a record may lack it (default: false)."),
    ],
};

pub(crate) static EXPECT: Section = Section {
    keys: &[
        key("records_per_cell", Kind::CountOr(&RECORDS), "How many records a cell has."),
        key("key", Kind::List(&Kind::Text), "The fields that tell one record from another."),
        key("checks", Kind::List(&Kind::Section(&CHECK)), "What each record must fulfil."),
    ],
};

pub(crate) static RECORDS: Section = Section {
    keys: &[
        key("min", Kind::Count { min: 0, max: COUNT_LIMIT }, "At least (default: 0)."),
        key("max", Kind::Count { min: 0, max: COUNT_LIMIT }, "At most."),
    ],
};

pub(crate) static CHECK: Section = Section {
    keys: &[
        key("not_null", Kind::Text, "The field has a value."),
        key("between", Kind::Section(&BETWEEN), "The field lies between two bounds."),
        key("one_of", Kind::Section(&ONE_OF), "The field has one of some values."),
        key("matches", Kind::Section(&MATCHES), "The field matches a regular expression."),
        key("equals_entity", Kind::Text, "The field is the entity that was asked for."),
        key("equals_period", Kind::Text, "The field is the period that was asked for."),
        later("unique"),
    ],
};

pub(crate) static BETWEEN: Section = Section {
    keys: &[
        required("field", Kind::Text, "The field."),
        key("min", Kind::Scalar, "The lower bound, included."),
        key("max", Kind::Scalar, "The upper bound, included."),
    ],
};

pub(crate) static ONE_OF: Section = Section {
    keys: &[
        required("field", Kind::Text, "The field."),
        required("values", Kind::List(&Kind::Scalar), "The values."),
    ],
};

pub(crate) static MATCHES: Section = Section {
    keys: &[
        required("field", Kind::Text, "The field."),
        required("pattern", Kind::Text, "The expression; it must match the whole text."),
    ],
};

pub(crate) static LOAD: Section = Section {
    keys: &[
        key("to", Kind::List(&Kind::Text), "The destinations (default: [\"lake\"])."),
        key("table", Kind::Text, "The table (default: the source's name)."),
    ],
};

pub(crate) static REVISIT: Section = Section {
    keys: &[
        required("every", Kind::Duration, "The pause between two looks at a cell with data."),
        required("until", Kind::Duration, "How long after a period's end it is looked at again."),
    ],
};

pub(crate) static RETRY: Section = Section {
    keys: &[
        key("first", Kind::Duration, "The pause before the first repetition (default: 2s)."),
        key("max", Kind::Duration, "The longest pause (default: 60s)."),
        key(
            "attempts",
            Kind::Count { min: 1, max: 100 },
            "Requests in one look, the first included (default: 4).",
        ),
    ],
};

pub(crate) static ARRIVAL: Section = Section {
    keys: &[
        key(
            "conditional",
            Kind::Section(&CONDITIONAL),
            "What a request costs that is answered \"still the same\".",
        ),
        key("head", Kind::Section(&HEAD), "A HEAD that tells whether a cell's data is there."),
        key("page", Kind::Section(&PAGE), "A page that names the entities whose data is there."),
        key("feed", Kind::Section(&FEED), "An RSS or Atom feed that names them."),
        key(
            "value_of_freshness",
            Kind::Text,
            "What the delay of a cell costs, such as \"2.0/hour\".",
        ),
        key("learn", Kind::Flag, "Whether arrivals are learned (default: true)."),
        key(
            "model",
            Kind::Text,
            "An ONNX file that foretells arrivals, from the project's folder.",
        ),
    ],
};

pub(crate) static CONDITIONAL: Section =
    Section { keys: &[key("cost", Kind::Amount, "The price of one look (default: 0).")] };

pub(crate) static HEAD: Section = Section {
    keys: &[
        required("ready", Kind::Text, "When data is there, such as \"content_length > 2\"."),
        key("cost", Kind::Amount, "The price of one look (default: 0)."),
        key("url", Kind::Text, "Where to ask (default: the request's `url`)."),
    ],
};

pub(crate) static PAGE: Section = Section {
    keys: &[
        required("url", Kind::Text, "The address, with {{ period }}."),
        key("select", Kind::Text, "A CSS selector of the elements that name entities."),
        key("text", Kind::Text, "A regular expression whose first group is an entity."),
        key("json", Kind::Text, "The path of the entities, such as \"$.ready[*]\"."),
        key("entity", Kind::Text, "The name is the element's `text` (default) or this attribute."),
        key("pattern", Kind::Text, "A regular expression: what of that is the name."),
        key("cost", Kind::Amount, "The price of one look (default: 0)."),
    ],
};

pub(crate) static FEED: Section = Section {
    keys: &[
        required("url", Kind::Text, "The address, with {{ period }}."),
        key("entity", Kind::Text, "The name stands in the `title` (default), `link` or `guid`."),
        key("pattern", Kind::Text, "A regular expression: what of that is the name."),
        key("cost", Kind::Amount, "The price of one look (default: 0)."),
    ],
};

/// `tidewatch.toml`
pub(crate) static SETTINGS: Section = Section {
    keys: &[
        key("project", Kind::Text, "The project's name (default: the folder's)."),
        key("state", Kind::Text, "The file of the engine's state (default: .tidewatch/state.db)."),
        key("lake", Kind::Text, "The folder of the tables (default: .tidewatch/lake)."),
        key(
            "archive",
            Kind::Text,
            "The folder of the bytes as received (default: .tidewatch/archive).",
        ),
        key("user_agent", Kind::Text, "How servers know us; name a way to reach you."),
        key("budget", Kind::Section(&SETTINGS_BUDGET), "What all sources together may spend."),
        key("commit", Kind::Section(&COMMIT), "How large the batches of the tables are."),
        key("ids", Kind::Section(&IDS), "Ids for parallel writers."),
        later("alerts"),
        later("telemetry"),
        later("load"),
        later("workers"),
    ],
};

pub(crate) static IDS: Section = Section {
    keys: &[key(
        "store",
        Kind::Text,
        "Where leases and counters are kept: a SQLite file, postgres://... or mariadb://... (default: .tidewatch/ids.db).",
    )],
};

pub(crate) static COMMIT: Section = Section {
    keys: &[
        key(
            "rows",
            Kind::Count { min: 1, max: 10_000_000 },
            "The most rows of a batch (default: 20000).",
        ),
        key("bytes", Kind::Size, "The most bytes of a batch (default: 64MiB)."),
        key("every", Kind::Duration, "The longest wait for a batch (default: 2s)."),
    ],
};
