
-- `int` ids by the database itself: SELECT tidewatch_next_id(), or as a column's default.
--
-- The database is one more writer of the space `ids`: it holds a node of its own for ever, so its ids
-- differ from those of all programs that lease nodes of this space. Run this file as often as you like.
INSERT INTO tidewatch_id_space VALUES ('ids', 1767225600000, 41, 10, 12, 0) ON CONFLICT DO NOTHING;

DO $$
DECLARE
    space tidewatch_id_space;
BEGIN
    SELECT * INTO STRICT space FROM tidewatch_id_space WHERE name = 'ids' FOR UPDATE;
    IF NOT EXISTS (SELECT FROM tidewatch_id_node n WHERE n.space = 'ids' AND n.holder = 'the database') THEN
        IF space.nodes_used >= 1::bigint << space.node_bits::int THEN
            RAISE EXCEPTION 'all nodes of the space "ids" were used before: none is left for the database';
        END IF;
        INSERT INTO tidewatch_id_node
            VALUES ('ids', space.nodes_used, 1, 9223372036854775807, 'the database');
        UPDATE tidewatch_id_space SET nodes_used = nodes_used + 1 WHERE name = 'ids';
    END IF;
END
$$;

-- The last pair of time and sequence. A sequence, because what it gave is not taken back by ROLLBACK.
CREATE SEQUENCE IF NOT EXISTS tidewatch_id_last AS bigint MINVALUE 0 START 0;

CREATE OR REPLACE FUNCTION tidewatch_next_id() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    lock_key CONSTANT bigint := 1415006564;
    space tidewatch_id_space;
    node bigint;
    now_ms bigint;
    pair bigint;
    ahead_ms bigint;
BEGIN
    SELECT * INTO STRICT space FROM tidewatch_id_space WHERE name = 'ids';
    SELECT n.node INTO STRICT node FROM tidewatch_id_node n WHERE n.space = 'ids' AND n.holder = 'the database';
    FOR try IN 1..2 LOOP
        BEGIN
            -- Held for microseconds, not until the transaction ends: writers do not wait for each other.
            PERFORM pg_advisory_lock(lock_key);
            now_ms := floor(extract(epoch from clock_timestamp()) * 1000)::bigint - space.epoch_ms;
            SELECT greatest(last_value + 1, now_ms << space.sequence_bits::int) INTO pair FROM tidewatch_id_last;
            ahead_ms := (pair >> space.sequence_bits::int) - now_ms;
            -- A full millisecond borrows from the next ones. More than 10 ms ahead is a clock that was
            -- turned back: nothing is given.
            IF ahead_ms <= 10 THEN
                PERFORM setval('tidewatch_id_last', pair);
            END IF;
            PERFORM pg_advisory_unlock(lock_key);
        EXCEPTION WHEN query_canceled OR OTHERS THEN
            PERFORM pg_advisory_unlock(lock_key);
            RAISE;
        END;
        IF now_ms < 0 OR pair >> space.sequence_bits::int >= 1::bigint << space.time_bits::int THEN
            RAISE EXCEPTION 'the space "ids" has no ids for this time: its epoch is % ms and it has % bits of time',
                space.epoch_ms, space.time_bits;
        END IF;
        IF ahead_ms <= 10 THEN
            RETURN (pair >> space.sequence_bits::int << (space.node_bits + space.sequence_bits)::int)
                | (node << space.sequence_bits::int)
                | (pair & ((1::bigint << space.sequence_bits::int) - 1));
        END IF;
        EXIT WHEN ahead_ms > 1000;
        PERFORM pg_sleep(ahead_ms / 1000.0);
    END LOOP;
    RAISE EXCEPTION 'the server''s clock is % ms behind the last id', ahead_ms
        USING HINT = 'set it right, or wait until it has caught up';
END
$$;
