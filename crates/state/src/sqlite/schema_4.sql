-- Format 4: from when on cells that wait are later than usual. What waits is counted by its last
-- outcome, or, where it is known from when on it is late, as late_usual: how many of these are later
-- is found by the index.

ALTER TABLE cells ADD COLUMN late_watch_at INTEGER;
ALTER TABLE cells ADD COLUMN overdue_at INTEGER;
CREATE INDEX cells_late ON cells (late_watch_at, source_id, overdue_at)
    WHERE late_watch_at IS NOT NULL;

DELETE FROM counts WHERE state = 'waiting';
INSERT INTO counts
    SELECT source_id, state, coalesce(outcome, ''), count(*) FROM cells
    WHERE state = 'waiting' GROUP BY source_id, outcome;
