-- Format 2: what was learned of limit scopes, and who holds which part of them (of 4294967296).

CREATE TABLE paces (
    scope TEXT PRIMARY KEY,
    learned TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE shares (
    scope TEXT NOT NULL,
    holder TEXT NOT NULL,
    parts INTEGER NOT NULL CHECK (parts BETWEEN 0 AND 4294967296),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (scope, holder)
) STRICT, WITHOUT ROWID;
CREATE INDEX shares_by_holder ON shares (holder);
