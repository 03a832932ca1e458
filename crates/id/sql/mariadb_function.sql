
-- `int` ids by the database itself: SELECT tidewatch_next_id(), or as a value of an INSERT.
--
-- The database is one more writer of the space `ids`: it holds a node of its own for ever, so its ids
-- differ from those of all programs that lease nodes of this space. Run this file as often as you like.
INSERT IGNORE INTO tidewatch_id_space VALUES ('ids', 1767225600000, 41, 10, 12, 0);

-- The last pair of time and sequence. In Aria, because what was given must not be taken back by ROLLBACK,
-- and because nobody waits for another one's transaction, only for his statement. (A MariaDB sequence
-- cannot be moved to a computed value.)
CREATE TABLE IF NOT EXISTS tidewatch_id_last (
    one tinyint PRIMARY KEY CHECK (one = 1),
    pair bigint NOT NULL
) ENGINE = Aria TRANSACTIONAL = 1;
INSERT IGNORE INTO tidewatch_id_last VALUES (1, 0);

DELIMITER //
CREATE OR REPLACE PROCEDURE tidewatch_id_install() MODIFIES SQL DATA
BEGIN
    DECLARE used, bits bigint;
    START TRANSACTION;
    SELECT nodes_used, node_bits INTO used, bits FROM tidewatch_id_space WHERE name = 'ids' FOR UPDATE;
    IF NOT EXISTS (SELECT 1 FROM tidewatch_id_node WHERE space = 'ids' AND holder = 'the database') THEN
        IF used >= 1 << bits THEN
            SIGNAL SQLSTATE '45000'
                SET MESSAGE_TEXT = 'all nodes of the space `ids` were used before: none is left for the database';
        END IF;
        INSERT INTO tidewatch_id_node VALUES ('ids', used, 1, 9223372036854775807, 'the database');
        UPDATE tidewatch_id_space SET nodes_used = nodes_used + 1 WHERE name = 'ids';
    END IF;
    COMMIT;
END//

CREATE OR REPLACE FUNCTION tidewatch_next_id() RETURNS bigint NOT DETERMINISTIC MODIFIES SQL DATA
BEGIN
    DECLARE its_node, epoch, time_width, node_width, sequence_width bigint;
    DECLARE now_ms, given, ahead_ms bigint;
    SELECT s.epoch_ms, s.time_bits, s.node_bits, s.sequence_bits, n.node
        INTO epoch, time_width, node_width, sequence_width, its_node
        FROM tidewatch_id_space s JOIN tidewatch_id_node n ON n.space = s.name
        WHERE s.name = 'ids' AND n.holder = 'the database';
    -- The time at which the statement began: a long one goes on from the last pair.
    SET now_ms = TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) DIV 1000 - epoch;
    -- A full millisecond borrows from the next ones. More than 1 s ahead is a clock that was turned
    -- back, or a statement that takes four million: nothing is given.
    UPDATE tidewatch_id_last
        SET pair = LAST_INSERT_ID(GREATEST(pair + 1, now_ms << sequence_width))
        WHERE one = 1 AND now_ms >= 0 AND pair >> sequence_width <= now_ms + 1000;
    IF its_node IS NULL OR ROW_COUNT() = 0 THEN
        SELECT CAST(pair >> sequence_width AS SIGNED) - now_ms INTO ahead_ms FROM tidewatch_id_last WHERE one = 1;
        SET @tidewatch_id_refused = CONCAT(
            'no ids: the server clock is ', COALESCE(ahead_ms, '?'), ' ms behind the last id, or before the epoch');
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @tidewatch_id_refused;
    END IF;
    SET given = LAST_INSERT_ID();
    IF given >> sequence_width >= 1 << time_width THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the layout of the space `ids` has no bits left for this time';
    END IF;
    RETURN (given >> sequence_width << (node_width + sequence_width))
        | (its_node << sequence_width)
        | (given & ((1 << sequence_width) - 1));
END//
DELIMITER ;

CALL tidewatch_id_install();
