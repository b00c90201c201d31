"""Functions in the database: who may write and lives, who owns a room or has a job, and what all nodes must hear.

A node is a row, and dead when that row says so. A write locks the row of its node until it ends, and a declaration of
death changes that row, so each write is wholly before the declaration, or refused. No clock is read for any of this.
"""

from __future__ import annotations

from typing import Final

NODE_FUNCTIONS_1: Final = r"""
CREATE FUNCTION collab.durable_1() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'default_transaction_isolation must be read committed' USING ERRCODE = 'LC005';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

-- What a node writes begins with this. Until it ends, nobody can declare the node dead.
CREATE FUNCTION collab.fence_1(me int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    gone boolean;
BEGIN
    PERFORM collab.durable_1();
    SELECT n.dead INTO gone FROM collab.nodes AS n WHERE n.nid = me FOR SHARE;
    IF gone IS DISTINCT FROM false THEN
        RAISE EXCEPTION 'another process has taken over this database' USING ERRCODE = 'LC001';
    END IF;
END $$;

-- As before, for what is written to documents and entities: of one node these writes follow each other.
CREATE FUNCTION collab.write_1(me int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    PERFORM pg_advisory_xact_lock(1279487853, me);
END $$;

-- Declares all nodes dead.
CREATE FUNCTION collab.end_nodes_1() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM collab.nodes AS n WHERE NOT n.dead ORDER BY n.nid FOR UPDATE;
    UPDATE collab.nodes SET dead = true WHERE NOT dead;
END $$;

-- Makes a node and returns its number; NULL if it wanted the database for itself and was not to take over.
-- What the dead owned is nobody's then. The last hundred nodes stay in the list.
CREATE FUNCTION collab.enter_1(p_opens text, p_name text, p_version text, p_url text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    me int;
BEGIN
    PERFORM collab.durable_1();
    PERFORM pg_advisory_xact_lock(1279487852, 1);
    IF p_opens = 'if free' AND EXISTS (SELECT 1 FROM collab.nodes AS n WHERE NOT n.dead) THEN
        RETURN NULL;
    ELSIF p_opens = 'take over' THEN
        PERFORM collab.end_nodes_1();
    END IF;
    INSERT INTO collab.nodes (name, version, started, dead, url)
        VALUES (p_name, p_version, extract(epoch FROM clock_timestamp()), false, p_url) RETURNING nid INTO me;
    INSERT INTO collab.beats VALUES (me, 0);
    DELETE FROM collab.nodes AS n WHERE n.dead AND n.nid <= me - 100;
    -- also those of a node that was declared dead, and forgotten, just now
    DELETE FROM collab.rooms AS r
        WHERE NOT EXISTS (SELECT 1 FROM collab.nodes AS n WHERE n.nid = r.nid AND NOT n.dead);
    DELETE FROM collab.jobs AS j WHERE NOT EXISTS (SELECT 1 FROM collab.nodes AS n WHERE n.nid = j.nid AND NOT n.dead);
    DELETE FROM collab.beats AS b WHERE NOT EXISTS (SELECT 1 FROM collab.nodes AS n WHERE n.nid = b.nid);
    DELETE FROM collab.receipts AS r WHERE NOT EXISTS (SELECT 1 FROM collab.nodes AS n WHERE n.nid = r.nid);
    RETURN me;
END $$;

CREATE FUNCTION collab.leave_1(me int) RETURNS void LANGUAGE sql AS $$
    UPDATE collab.nodes SET dead = true WHERE nid = me AND NOT dead
$$;

-- A beat that a crash takes back does no harm: it is another number than the one seen before.
CREATE FUNCTION collab.beat_1(me int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE collab.beats AS b SET n = b.n + 1
        WHERE b.nid = me AND EXISTS (SELECT 1 FROM collab.nodes AS n WHERE n.nid = me AND NOT n.dead);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another process has taken over this database' USING ERRCODE = 'LC001';
    END IF;
END $$;

-- Rows are locked in the order of their numbers, so that two who declare each other dead do not wait for each other.
CREATE FUNCTION collab.declare_dead_1(me int, p_nid int, p_beats bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM collab.nodes AS n WHERE n.nid IN (me, p_nid) ORDER BY n.nid FOR UPDATE;
    PERFORM collab.fence_1(me);
    PERFORM 1 FROM collab.beats AS b WHERE b.nid = p_nid AND b.n = p_beats FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE collab.nodes SET dead = true WHERE nid = p_nid AND NOT dead;
    RETURN FOUND;
END $$;

-- The owner of a room: the caller, unless another node that is not dead owns it already.
CREATE FUNCTION collab.acquire_1(me int, p_project text, p_collection text, p_id text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    owner int;
BEGIN
    PERFORM collab.fence_1(me);
    LOOP
        INSERT INTO collab.rooms AS r VALUES (p_project, p_collection, p_id, me)
            ON CONFLICT (project, collection, id) DO UPDATE SET nid = me
            WHERE r.nid IN (SELECT n.nid FROM collab.nodes AS n WHERE n.dead)
            RETURNING r.nid INTO owner;
        EXIT WHEN FOUND;
        SELECT r.nid INTO owner FROM collab.rooms AS r
            WHERE r.project = p_project AND r.collection = p_collection AND r.id = p_id;
        EXIT WHEN FOUND;  -- else it has just been released
    END LOOP;
    RETURN owner;
END $$;

CREATE FUNCTION collab.release_1(me int, k_project text[], k_collection text[], k_id text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    DELETE FROM collab.rooms AS r USING unnest(k_project, k_collection, k_id) AS k(p, c, i)
        WHERE r.project = k.p AND r.collection = k.c AND r.id = k.i AND r.nid = me;
END $$;

-- The caller takes jobs that nobody who lives has. Returns those of p_names that it has then.
CREATE FUNCTION collab.claim_jobs_1(me int, p_names text[]) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    INSERT INTO collab.jobs AS j
        SELECT k.name, me FROM unnest(p_names) AS k(name) WHERE NOT EXISTS (
            SELECT 1 FROM collab.jobs AS o JOIN collab.nodes AS n USING (nid) WHERE o.name = k.name AND NOT n.dead)
        ORDER BY k.name COLLATE "C"
        ON CONFLICT (name) DO UPDATE SET nid = me
        WHERE NOT EXISTS (SELECT 1 FROM collab.nodes AS n WHERE n.nid = j.nid AND NOT n.dead);
    RETURN ARRAY(SELECT j.name FROM collab.jobs AS j WHERE j.name = ANY (p_names) AND j.nid = me ORDER BY j.name);
END $$;

-- One after the other, so that numbers become visible in their order. The newest one always stays.
CREATE FUNCTION collab.announce_1(me int, p_project text, p_kind text, p_body text, p_seconds float8) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    now_at float8;
    made bigint;
BEGIN
    PERFORM collab.fence_1(me);
    PERFORM pg_advisory_xact_lock(1279487852, 2);
    now_at := extract(epoch FROM clock_timestamp());
    DELETE FROM collab.announcements AS a WHERE a.at < now_at - p_seconds;
    INSERT INTO collab.announcements (project, kind, body, at) VALUES (p_project, p_kind, p_body, now_at)
        RETURNING number INTO made;
    RETURN made;
END $$;

CREATE FUNCTION collab.release_jobs_1(me int, p_names text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    DELETE FROM collab.jobs AS j WHERE j.name = ANY (p_names) AND j.nid = me;
END $$;
"""
"""Those of schema version 1."""
