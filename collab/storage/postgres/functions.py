"""Functions in the database: what is written in one statement.

A process that is stopped in the middle of a transaction holds its locks as long as it sleeps; a statement runs to its
end. Each function first takes the lock of all who write, then asks whether its caller is still the one who may.
"""

from __future__ import annotations

from typing import Final

FUNCTIONS_1: Final = r"""
CREATE FUNCTION collab.write_1(me text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    current text;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'default_transaction_isolation must be read committed' USING ERRCODE = 'LC005';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_advisory_xact_lock(1279487852, 1);
    SELECT r.writer INTO current FROM collab.record AS r;
    IF current IS DISTINCT FROM me THEN
        RAISE EXCEPTION 'another process has taken over this database' USING ERRCODE = 'LC001';
    END IF;
END $$;

CREATE FUNCTION collab.sealed_1(crc bigint, rid bigint, seq bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT crc # ((((rid & 2147483647) * 2654435761) # seq) & 4294967295)
$$;

CREATE FUNCTION collab.live_1(of_rid bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT greatest(
        coalesce((SELECT max(l.seq) FROM collab.log AS l WHERE l.rid = of_rid), 0),
        coalesce((SELECT s.seq FROM collab.snapshots AS s WHERE s.rid = of_rid), 0))
$$;

CREATE FUNCTION collab.last_1(of_rid bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT greatest(collab.live_1(of_rid), coalesce((
        SELECT max(a.seq) FROM collab.set_aside AS a JOIN collab.documents AS d
        ON d.project = a.project AND d.collection = a.collection AND d.id = a.id WHERE d.rid = of_rid), 0))
$$;

CREATE FUNCTION collab.list_uncovered_1(rids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO collab.uncovered (rid)
        SELECT d.rid FROM unnest(rids) WITH ORDINALITY AS u(rid, i) JOIN collab.documents AS d ON d.rid = u.rid
        LEFT JOIN collab.entities AS e ON e.project = d.project AND e.collection = d.collection AND e.id = d.id
        WHERE collab.live_1(d.rid) > greatest(coalesce(e.content_seq, 0), 0)
        AND NOT EXISTS (SELECT 1 FROM collab.uncovered AS o WHERE o.rid = d.rid) ORDER BY u.i;
    DELETE FROM collab.uncovered AS o USING collab.documents AS d
        LEFT JOIN collab.entities AS e ON e.project = d.project AND e.collection = d.collection AND e.id = d.id
        WHERE o.rid = ANY (rids) AND d.rid = o.rid
        AND collab.live_1(d.rid) <= greatest(coalesce(e.content_seq, 0), 0);
END $$;

-- k: names of documents and entities, r: log rows, f: events, e: what entities are after their last event.
-- r_key and f_key are places in k from 1 on, f_row is one in r or 0, e_fact one in f.
CREATE FUNCTION collab.commit_1(
    me text, p_writer text, p_number bigint, p_new boolean,
    k_project text[], k_collection text[], k_id text[], k_lineage text[],
    r_key int[], r_content bytea[], r_user text[], r_at float8[], r_crc bigint[],
    f_key int[], f_row int[], f_version bigint[], f_type text[], f_user text[], f_at float8[],
    f_data text[], f_changes text[], f_conflicts text[], f_covered bigint[],
    f_caller text[], f_name text[], f_digest bytea[],
    e_fact int[], e_deleted boolean[], e_data text[], e_keys text[], e_texts text[], e_heads bytea[], e_at float8[],
    OUT o_seqs bigint[], OUT o_positions bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    known bigint;
    rids bigint[];
    lasts bigint[];
    eids bigint[];
    versions bigint[];
    reaches bigint[];
    wrong record;
BEGIN
    PERFORM collab.write_1(me);
    IF p_writer IS NOT NULL THEN
        SELECT r.number, r.seqs, r.positions INTO known, o_seqs, o_positions
            FROM collab.receipts AS r WHERE r.writer = p_writer;
        IF known = p_number THEN
            RETURN;
        ELSIF known > p_number THEN
            RAISE EXCEPTION 'commit % cannot be repeated after commit % of the same writer', p_number, known
                USING ERRCODE = 'LC002';
        END IF;
    END IF;
    IF p_new AND EXISTS (SELECT 1 FROM collab.documents AS d
            WHERE d.project = k_project[1] AND d.collection = k_collection[1] AND d.id = k_id[1]) THEN
        o_seqs := NULL;
        RETURN;
    END IF;
    o_seqs := '{}';
    o_positions := '{}';
    INSERT INTO collab.documents (project, collection, id, lineage, created_at)
        SELECT k.project, k.collection, k.id, k.lineage, r.at
        FROM (SELECT DISTINCT ON (u.key) u.key, u.at
            FROM unnest(r_key, r_at) WITH ORDINALITY AS u(key, at, i) ORDER BY u.key, u.i) AS r
        JOIN unnest(k_project, k_collection, k_id, k_lineage)
            WITH ORDINALITY AS k(project, collection, id, lineage, i) ON k.i = r.key
        WHERE NOT EXISTS (SELECT 1 FROM collab.documents AS d
            WHERE d.project = k.project AND d.collection = k.collection AND d.id = k.id)
        ORDER BY k.i;
    SELECT array_agg(coalesce(d.rid, 0) ORDER BY k.i),
        array_agg(CASE WHEN d.rid IS NULL THEN 0 ELSE collab.last_1(d.rid) END ORDER BY k.i),
        array_agg(coalesce(e.eid, 0) ORDER BY k.i),
        array_agg(coalesce(e.version, 0) ORDER BY k.i),
        array_agg(coalesce(
            (SELECT v.seq FROM collab.events AS v WHERE v.eid = e.eid AND v.version = e.version), 0) ORDER BY k.i)
        INTO rids, lasts, eids, versions, reaches
        FROM unnest(k_project, k_collection, k_id) WITH ORDINALITY AS k(project, collection, id, i)
        LEFT JOIN collab.documents AS d ON d.project = k.project AND d.collection = k.collection AND d.id = k.id
        LEFT JOIN collab.entities AS e ON e.project = k.project AND e.collection = k.collection AND e.id = k.id;
    IF cardinality(r_key) > 0 THEN
        SELECT array_agg(lasts[n.key] + n.turn ORDER BY n.i) INTO o_seqs FROM (
            SELECT u.key, u.i, row_number() OVER (PARTITION BY u.key ORDER BY u.i) AS turn
            FROM unnest(r_key) WITH ORDINALITY AS u(key, i)) AS n;
        INSERT INTO collab.log (rid, seq, content, user_id, at, crc)
            SELECT rids[r.key], r.seq, r.content, r.user_id, r.at, collab.sealed_1(r.crc, rids[r.key], r.seq)
            FROM unnest(r_key, o_seqs, r_content, r_user, r_at, r_crc) AS r(key, seq, content, user_id, at, crc);
        SELECT array_agg(lasts[k.i] + coalesce(c.n, 0) ORDER BY k.i) INTO lasts
            FROM generate_subscripts(k_id, 1) AS k(i)
            LEFT JOIN (SELECT u.key, count(*) AS n FROM unnest(r_key) AS u(key) GROUP BY u.key) AS c ON c.key = k.i;
    END IF;
    IF cardinality(f_key) > 0 THEN
        SELECT f.key, f.version, versions[f.key] + f.turn - 1 AS before INTO wrong FROM (
            SELECT u.key, u.version, u.i, row_number() OVER (PARTITION BY u.key ORDER BY u.i) AS turn
            FROM unnest(f_key, f_version) WITH ORDINALITY AS u(key, version, i)) AS f
            WHERE f.version <> versions[f.key] + f.turn ORDER BY f.i LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'version % of %/%/% does not follow version %', wrong.version,
                k_project[wrong.key], k_collection[wrong.key], k_id[wrong.key], wrong.before USING ERRCODE = 'LC003';
        END IF;
        INSERT INTO collab.entities AS t (project, collection, id, version, deleted, data, keys, texts, heads,
                content_seq, created_at, updated_at)
            SELECT k_project[f_key[e.fact]], k_collection[f_key[e.fact]], k_id[f_key[e.fact]], f_version[e.fact],
                e.deleted, e.data, e.keys::jsonb, e.texts::jsonb, e.heads, f_covered[e.fact], e.at, f_at[e.fact]
            FROM unnest(e_fact, e_deleted, e_data, e_keys, e_texts, e_heads, e_at)
                AS e(fact, deleted, data, keys, texts, heads, at)
            ON CONFLICT (project, collection, id) DO UPDATE SET version = excluded.version,
                deleted = excluded.deleted, data = excluded.data, keys = excluded.keys, texts = excluded.texts,
                heads = excluded.heads, content_seq = excluded.content_seq, updated_at = excluded.updated_at;
        IF 0 = ANY (eids) THEN
            SELECT array_agg(coalesce(e.eid, 0) ORDER BY k.i) INTO eids
                FROM unnest(k_project, k_collection, k_id) WITH ORDINALITY AS k(project, collection, id, i)
                LEFT JOIN collab.entities AS e
                ON e.project = k.project AND e.collection = k.collection AND e.id = k.id;
        END IF;
        INSERT INTO collab.projects (project, oldest, newest)
            SELECT DISTINCT k_project[u.key], r.base, r.base FROM unnest(f_key) AS u(key), collab.record AS r
            ON CONFLICT DO NOTHING;
        SELECT array_agg(b.newest + f.turn ORDER BY f.i) INTO o_positions FROM (
            SELECT k_project[u.key] AS project, u.i,
                row_number() OVER (PARTITION BY k_project[u.key] ORDER BY u.i) AS turn
            FROM unnest(f_key) WITH ORDINALITY AS u(key, i)) AS f
            JOIN (SELECT p.project, greatest(p.newest, coalesce(
                    (SELECT max(v.position) FROM collab.events AS v WHERE v.project = p.project), 0)) AS newest
                FROM collab.projects AS p
                WHERE p.project = ANY (ARRAY(SELECT DISTINCT k_project[u.key] FROM unnest(f_key) AS u(key)))) AS b
            ON b.project = f.project;
        INSERT INTO collab.events (project, position, eid, version, type, seq, user_id, at, data, changes, conflicts)
            SELECT k_project[f.key], f.position, eids[f.key], f.version, f.type,
                max(greatest(reaches[f.key], CASE WHEN f.row > 0 THEN o_seqs[f.row]
                    WHEN f.type IN ('deleted', 'restored') THEN lasts[f.key] ELSE f.covered END))
                    OVER (PARTITION BY f.key ORDER BY f.i),
                f.user_id, f.at, f.data, f.changes, f.conflicts
            FROM unnest(f_key, o_positions, f_version, f_type, f_row, f_covered, f_user, f_at, f_data, f_changes,
                f_conflicts) WITH ORDINALITY
                AS f(key, position, version, type, row, covered, user_id, at, data, changes, conflicts, i);
        INSERT INTO collab.requests (project, caller, request, digest, eid, version, at)
            SELECT k_project[f.key], f.caller, f.name, f.digest, eids[f.key], f.version, f.at
            FROM unnest(f_key, f_caller, f_name, f_digest, f_version, f_at) WITH ORDINALITY
                AS f(key, caller, name, digest, version, at, i)
            WHERE f.name IS NOT NULL ORDER BY f.i
            ON CONFLICT DO NOTHING;
    END IF;
    PERFORM collab.list_uncovered_1(rids);
    IF p_writer IS NOT NULL THEN
        UPDATE collab.receipts AS r SET number = p_number, seqs = o_seqs, positions = o_positions
            WHERE r.writer = p_writer;
        IF NOT FOUND THEN
            INSERT INTO collab.receipts (writer, number, seqs, positions)
                VALUES (p_writer, p_number, o_seqs, o_positions);
            DELETE FROM collab.receipts AS r WHERE r.id <= (SELECT max(m.id) - 100 FROM collab.receipts AS m);
        END IF;
    END IF;
END $$;

CREATE FUNCTION collab.set_aside_1(
    me text, p_project text, p_collection text, p_id text, p_seq bigint, p_content bytea, p_reason text, p_at float8
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    of_rid bigint;
BEGIN
    PERFORM collab.write_1(me);
    INSERT INTO collab.set_aside (project, collection, id, seq, content, reason, at)
        SELECT p_project, p_collection, p_id, p_seq, p_content, p_reason, p_at
        WHERE NOT EXISTS (SELECT 1 FROM collab.set_aside AS a
            WHERE a.project = p_project AND a.collection = p_collection AND a.id = p_id
            AND a.seq IS NOT DISTINCT FROM p_seq AND a.content = p_content);
    SELECT d.rid INTO of_rid FROM collab.documents AS d
        WHERE d.project = p_project AND d.collection = p_collection AND d.id = p_id;
    IF FOUND THEN
        DELETE FROM collab.log AS l WHERE l.rid = of_rid AND l.seq = p_seq;
        PERFORM collab.list_uncovered_1(ARRAY[of_rid]);
    END IF;
END $$;

CREATE FUNCTION collab.cover_1(me text, p_project text, p_collection text, p_id text, p_seq bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.write_1(me);
    UPDATE collab.entities AS e SET content_seq = p_seq
        WHERE e.project = p_project AND e.collection = p_collection AND e.id = p_id AND e.content_seq < p_seq;
    IF FOUND THEN
        PERFORM collab.list_uncovered_1(ARRAY(SELECT d.rid FROM collab.documents AS d
            WHERE d.project = p_project AND d.collection = p_collection AND d.id = p_id));
    END IF;
END $$;

-- Forgets what is in front of the newest base, or snapshot, that is from before a moment.
CREATE FUNCTION collab.cut_1(of_rid bigint, before float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    start bigint;
    newest float8;
BEGIN
    FOR start IN SELECT b.seq FROM collab.bases AS b WHERE b.rid = of_rid
            UNION SELECT s.seq FROM collab.snapshots AS s WHERE s.rid = of_rid ORDER BY 1 DESC LOOP
        SELECT max(a.to_at) INTO newest FROM collab.archive AS a WHERE a.rid = of_rid AND a.to_seq <= start;
        EXIT WHEN newest IS NULL;
        IF newest < before THEN
            DELETE FROM collab.archive AS a WHERE a.rid = of_rid AND a.to_seq <= start;
            DELETE FROM collab.bases AS b WHERE b.rid = of_rid AND (b.seq < start
                OR b.seq = (SELECT s.seq FROM collab.snapshots AS s WHERE s.rid = of_rid));
            EXIT;
        END IF;
    END LOOP;
END $$;

-- False if the log is not any more what was packed: p_count rows behind snapshot p_start.
CREATE FUNCTION collab.snapshot_1(
    me text, p_project text, p_collection text, p_id text, p_seq bigint,
    p_content bytea, p_crc bigint, p_gate bytea, p_gate_crc bigint,
    p_history boolean, p_before float8, p_start bigint, p_count bigint,
    a_from bigint[], a_to bigint[], a_from_at float8[], a_to_at float8[], a_content bytea[], a_crc bigint[]
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    of_rid bigint;
    start bigint;
    weight bigint;
BEGIN
    PERFORM collab.write_1(me);
    SELECT d.rid INTO of_rid FROM collab.documents AS d
        WHERE d.project = p_project AND d.collection = p_collection AND d.id = p_id;
    IF NOT FOUND OR collab.last_1(of_rid) < p_seq THEN
        RAISE EXCEPTION '%/%/% has no row %', p_project, p_collection, p_id, p_seq USING ERRCODE = 'LC004';
    END IF;
    start := coalesce((SELECT s.seq FROM collab.snapshots AS s WHERE s.rid = of_rid), 0);
    IF start > p_seq THEN
        RETURN true;
    END IF;
    IF NOT p_history THEN
        DELETE FROM collab.archive AS a WHERE a.rid = of_rid;
        DELETE FROM collab.bases AS b WHERE b.rid = of_rid;
    ELSIF start <> p_start
            OR p_count <> (SELECT count(*) FROM collab.log AS l WHERE l.rid = of_rid AND l.seq <= p_seq) THEN
        RETURN false;
    ELSIF p_seq > start THEN
        -- bases take no more room than the archive: one is kept where nothing stands in front of it, and whenever
        -- the archive behind the last one has grown larger than it would be
        IF start > 0 THEN
            SELECT coalesce(sum(length(a.content)), 0) INTO weight FROM collab.archive AS a WHERE a.rid = of_rid
                AND a.to_seq > coalesce((SELECT max(b.seq) FROM collab.bases AS b WHERE b.rid = of_rid), 0);
            INSERT INTO collab.bases SELECT s.rid, s.seq, s.content, s.crc FROM collab.snapshots AS s
                WHERE s.rid = of_rid AND (weight >= length(s.content)
                OR NOT EXISTS (SELECT 1 FROM collab.archive AS a WHERE a.rid = of_rid AND a.to_seq = start))
                ON CONFLICT DO NOTHING;
        END IF;
        INSERT INTO collab.archive (rid, from_seq, to_seq, from_at, to_at, content, crc)
            SELECT of_rid, a.f, a.t, a.fa, a.ta, a.content, collab.sealed_1(a.crc, of_rid, a.t)
            FROM unnest(a_from, a_to, a_from_at, a_to_at, a_content, a_crc) AS a(f, t, fa, ta, content, crc);
    END IF;
    INSERT INTO collab.snapshots VALUES (of_rid, p_seq, p_content, collab.sealed_1(p_crc, of_rid, p_seq),
            p_gate, collab.sealed_1(p_gate_crc, of_rid, p_seq))
        ON CONFLICT (rid) DO UPDATE SET seq = excluded.seq, content = excluded.content, crc = excluded.crc,
            gate = excluded.gate, gate_crc = excluded.gate_crc;
    DELETE FROM collab.log AS l WHERE l.rid = of_rid AND l.seq <= p_seq;
    IF p_history AND p_before IS NOT NULL THEN
        PERFORM collab.cut_1(of_rid, p_before);
    END IF;
    PERFORM collab.list_uncovered_1(ARRAY[of_rid]);
    RETURN true;
END $$;

CREATE FUNCTION collab.erase_1(me text, k_project text[], k_collection text[], k_id text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rids bigint[];
    eids bigint[];
BEGIN
    PERFORM collab.write_1(me);
    UPDATE collab.projects AS p SET newest = greatest(p.newest, coalesce(
            (SELECT max(v.position) FROM collab.events AS v WHERE v.project = p.project), 0))
        WHERE p.project = ANY (k_project);
    UPDATE collab.record AS r SET newest_at = greatest(r.newest_at, coalesce((SELECT max((
        SELECT v.at FROM collab.events AS v WHERE v.project = p.project ORDER BY v.position DESC LIMIT 1))
        FROM collab.projects AS p), 0));
    rids := ARRAY(SELECT d.rid FROM collab.documents AS d JOIN unnest(k_project, k_collection, k_id) AS k(p, c, i)
        ON d.project = k.p AND d.collection = k.c AND d.id = k.i);
    eids := ARRAY(SELECT e.eid FROM collab.entities AS e JOIN unnest(k_project, k_collection, k_id) AS k(p, c, i)
        ON e.project = k.p AND e.collection = k.c AND e.id = k.i);
    DELETE FROM collab.log WHERE rid = ANY (rids);
    DELETE FROM collab.snapshots WHERE rid = ANY (rids);
    DELETE FROM collab.archive WHERE rid = ANY (rids);
    DELETE FROM collab.bases WHERE rid = ANY (rids);
    DELETE FROM collab.uncovered WHERE rid = ANY (rids);
    DELETE FROM collab.documents WHERE rid = ANY (rids);
    DELETE FROM collab.events WHERE eid = ANY (eids);
    DELETE FROM collab.requests WHERE eid = ANY (eids);
    DELETE FROM collab.entities WHERE eid = ANY (eids);
    DELETE FROM collab.set_aside AS s USING unnest(k_project, k_collection, k_id) AS k(p, c, i)
        WHERE s.project = k.p AND s.collection = k.c AND s.id = k.i;
    DELETE FROM collab.dead_letters AS s USING unnest(k_project, k_collection, k_id) AS k(p, c, i)
        WHERE s.project = k.p AND s.collection = k.c AND s.id = k.i;
END $$;

-- Forgets some of a project's events up to p_cut; what an entity was then stays. Returns whether more are left.
CREATE FUNCTION collab.trim_events_1(me text, p_project text, p_cut bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    start bigint;
    upto bigint;
BEGIN
    PERFORM collab.write_1(me);
    SELECT p.oldest INTO start FROM collab.projects AS p WHERE p.project = p_project;
    IF NOT FOUND OR start >= p_cut THEN
        RETURN false;
    END IF;
    upto := least(start + 1000, p_cut);
    DELETE FROM collab.events AS o USING collab.events AS v
        WHERE o.eid = v.eid AND o.version = v.version - 1
        AND v.project = p_project AND v.position > start AND v.position <= upto;
    UPDATE collab.projects AS p SET oldest = upto WHERE p.project = p_project;
    RETURN upto < p_cut;
END $$;
"""
"""The functions of schema version 1."""
