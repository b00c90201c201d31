"""Functions in the database: what is written in one statement.

A process that is stopped in the middle of a transaction holds its locks as long as it sleeps; a statement runs to its
end. Each function first asks whether its caller may still write (:mod:`collab.storage.postgres.node_functions`).

What belongs to one room is written by the node that owns it, one write after the other. What several nodes may reach at
once has a lock of its own: each project for the positions of its events and for what is trimmed of them, the row of a
document for its history, which is trimmed too. They are locked in order, projects last.
"""

from __future__ import annotations

from typing import Final

COMMIT_1_PARAMETERS: Final = """\
    me int, p_writer text, p_number bigint, p_new boolean,
    k_project text[], k_collection text[], k_id text[], k_lineage text[], k_place int[],
    r_key int[], r_content bytea[], r_user text[], r_at float8[], r_crc bigint[], p_project text[],
    f_key int[], f_row int[], f_version bigint[], f_type text[], f_user text[], f_at float8[],
    f_data text[], f_changes text[], f_conflicts text[], f_covered bigint[],
    q_fact int[], q_caller text[], q_name text[], q_digest bytea[],
    e_fact int[], e_deleted boolean[], e_data text[], e_keys text[], e_texts text[], e_heads bytea[], e_at float8[],
"""
"""Those of ``collab.commit_1``. What commits more has them first."""

COMMIT_RESULT: Final = """\
    OUT o_seqs bigint[], OUT o_positions bigint[]
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off AS $$"""
"""The rest of their heads."""

FUNCTIONS_1: Final = (
    r"""
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

-- Whoever holds the lock of a project assigns its next positions, until it has committed. Projects come in order.
CREATE FUNCTION collab.lock_positions_1(projects text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    project text;
BEGIN
    FOREACH project IN ARRAY projects LOOP
        PERFORM pg_advisory_xact_lock(1279487854, hashtext(project));
    END LOOP;
END $$;

-- Plans are made once, and by index, also while tables are empty.
-- k: names of documents and entities, r: log rows, p: projects with events, f: events, q: the requests among them,
-- e: what entities are after their last event. r_key and f_key are places in k from 1 on, k_place is one in p or 0,
-- f_row one in r or 0, q_fact and e_fact one in f.
CREATE FUNCTION collab.commit_1(
"""  # noqa: S608 - constants
    + COMMIT_1_PARAMETERS
    + COMMIT_RESULT
    + r"""
DECLARE
    known bigint;
    rids bigint[];
    lives bigint[];
    lasts bigint[];
    listed boolean[];
    eids bigint[];
    versions bigint[];
    covered bigint[];
    reaches bigint[];
    newest bigint[];
    counts int[];
    reached bigint[] := '{}';
    first_rows int[] := '{}';
    first_facts int[] := '{}';
    came bigint[] := '{}';
    went bigint[] := '{}';
    facts int := cardinality(f_key);
    k int;
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
    SELECT array_agg(t.rid), array_agg(t.live), array_agg(greatest(t.live, t.aside)), array_agg(t.listed),
            array_agg(t.eid), array_agg(t.version), array_agg(t.covered), array_agg(t.reach)
        INTO rids, lives, lasts, listed, eids, versions, covered, reaches
        FROM (SELECT coalesce(d.rid, 0) AS rid,
                greatest((SELECT max(l.seq) FROM collab.log AS l WHERE l.rid = d.rid),
                    (SELECT s.seq FROM collab.snapshots AS s WHERE s.rid = d.rid), 0) AS live,
                (SELECT max(a.seq) FROM collab.set_aside AS a WHERE a.project = k.project
                    AND a.collection = k.collection AND a.id = k.id) AS aside,
                coalesce((SELECT true FROM collab.uncovered AS o WHERE o.rid = d.rid), false) AS listed,
                coalesce(e.eid, 0) AS eid, coalesce(e.version, 0) AS version,
                coalesce(e.content_seq, 0) AS covered,
                CASE WHEN facts = 0 THEN 0 ELSE coalesce((SELECT v.seq FROM collab.events AS v
                    WHERE v.eid = e.eid AND v.version = e.version), 0) END AS reach
            FROM unnest(k_project, k_collection, k_id) WITH ORDINALITY AS k(project, collection, id, i)
            LEFT JOIN collab.documents AS d ON d.project = k.project AND d.collection = k.collection AND d.id = k.id
            LEFT JOIN collab.entities AS e ON e.project = k.project AND e.collection = k.collection AND e.id = k.id
            ORDER BY k.i) AS t;
    IF p_new AND rids[1] > 0 THEN
        o_seqs := NULL;
        RETURN;
    END IF;
    o_seqs := '{}';
    o_positions := '{}';
    IF cardinality(r_key) > 0 THEN
        FOR i IN 1..cardinality(r_key) LOOP
            k := r_key[i];
            IF rids[k] = 0 THEN
                rids[k] := nextval('collab.documents_rid_seq');
                first_rows := first_rows || i;
            END IF;
            lasts[k] := lasts[k] + 1;
            lives[k] := lasts[k];
            o_seqs[i] := lasts[k];
        END LOOP;
        IF cardinality(first_rows) > 0 THEN
            INSERT INTO collab.documents (rid, project, collection, id, lineage, created_at) OVERRIDING SYSTEM VALUE
                SELECT rids[r_key[n.i]], k_project[r_key[n.i]], k_collection[r_key[n.i]], k_id[r_key[n.i]],
                    k_lineage[r_key[n.i]], r_at[n.i] FROM unnest(first_rows) AS n(i);
        END IF;
        INSERT INTO collab.log (rid, seq, content, user_id, at, crc)
            SELECT rids[r.key], r.seq, r.content, r.user_id, r.at, collab.sealed_1(r.crc, rids[r.key], r.seq)
            FROM unnest(r_key, o_seqs, r_content, r_user, r_at, r_crc) AS r(key, seq, content, user_id, at, crc);
    END IF;
    IF facts > 0 THEN
        counts := array_fill(0, ARRAY[cardinality(p_project)]);
        FOR i IN 1..facts LOOP
            k := f_key[i];
            IF f_version[i] <> versions[k] + 1 THEN
                RAISE EXCEPTION 'version % of %/%/% does not follow version %', f_version[i],
                    k_project[k], k_collection[k], k_id[k], versions[k] USING ERRCODE = 'LC003';
            END IF;
            versions[k] := f_version[i];
            IF eids[k] = 0 THEN
                eids[k] := nextval('collab.entities_eid_seq');
                first_facts := first_facts || i;
            END IF;
            reaches[k] := greatest(reaches[k], CASE WHEN f_row[i] > 0 THEN o_seqs[f_row[i]]
                WHEN f_type[i] IN ('deleted', 'restored') THEN lasts[k] ELSE f_covered[i] END);
            reached[i] := reaches[k];
            covered[k] := greatest(covered[k], f_covered[i]);
            counts[k_place[k]] := counts[k_place[k]] + 1;
            o_positions[i] := counts[k_place[k]];
        END LOOP;
        IF cardinality(first_facts) < cardinality(e_fact) THEN
            UPDATE collab.entities AS t SET version = f_version[e.fact], deleted = e.deleted, data = e.data,
                    keys = e.keys::jsonb, texts = e.texts::jsonb, heads = e.heads,
                    content_seq = greatest(t.content_seq, f_covered[e.fact]), updated_at = f_at[e.fact]
                FROM unnest(e_fact, e_deleted, e_data, e_keys, e_texts, e_heads)
                    AS e(fact, deleted, data, keys, texts, heads) WHERE t.eid = eids[f_key[e.fact]];
        END IF;
        IF cardinality(first_facts) > 0 THEN
            INSERT INTO collab.entities (eid, project, collection, id, version, deleted, data, keys, texts, heads,
                    content_seq, created_at, updated_at) OVERRIDING SYSTEM VALUE
                SELECT eids[f_key[e.fact]], k_project[f_key[e.fact]], k_collection[f_key[e.fact]], k_id[f_key[e.fact]],
                    f_version[e.fact], e.deleted, e.data, e.keys::jsonb, e.texts::jsonb, e.heads, f_covered[e.fact],
                    e.at, f_at[e.fact]
                FROM unnest(e_fact, e_deleted, e_data, e_keys, e_texts, e_heads, e_at)
                    AS e(fact, deleted, data, keys, texts, heads, at)
                WHERE f_key[e.fact] IN (SELECT f_key[n.i] FROM unnest(first_facts) AS n(i));
        END IF;
        PERFORM collab.lock_positions_1(p_project);
        SELECT array_agg(n.newest) INTO newest FROM (
            SELECT greatest(p.newest, (SELECT max(v.position) FROM collab.events AS v WHERE v.project = p.project))
                AS newest FROM unnest(p_project) WITH ORDINALITY AS n(project, i)
            LEFT JOIN collab.projects AS p ON p.project = n.project ORDER BY n.i) AS n;
        IF array_position(newest, NULL) IS NOT NULL THEN
            INSERT INTO collab.projects (project, oldest, newest)
                SELECT n.project, r.base, r.base
                FROM unnest(p_project, newest) AS n(project, newest), collab.record AS r WHERE n.newest IS NULL;
            newest := ARRAY(SELECT coalesce(n.newest, r.base) FROM unnest(newest) WITH ORDINALITY AS n(newest, i),
                collab.record AS r ORDER BY n.i);
        END IF;
        FOR i IN 1..facts LOOP
            o_positions[i] := o_positions[i] + newest[k_place[f_key[i]]];
        END LOOP;
        INSERT INTO collab.events (project, position, eid, version, type, seq, user_id, at, data, changes, conflicts)
            SELECT k_project[f.key], f.position, eids[f.key], f.version, f.type, f.seq, f.user_id, f.at, f.data,
                f.changes, f.conflicts
            FROM unnest(f_key, o_positions, f_version, f_type, reached, f_user, f_at, f_data, f_changes, f_conflicts)
                AS f(key, position, version, type, seq, user_id, at, data, changes, conflicts);
    END IF;
    IF cardinality(q_fact) > 0 THEN
        INSERT INTO collab.requests (project, caller, request, digest, eid, version, at)
            SELECT k_project[f_key[q.fact]], q.caller, q.name, q.digest, eids[f_key[q.fact]], f_version[q.fact],
                f_at[q.fact]
            FROM unnest(q_fact, q_caller, q_name, q_digest) AS q(fact, caller, name, digest)
            ON CONFLICT DO NOTHING;
    END IF;
    FOR k IN 1..cardinality(k_id) LOOP
        IF (lives[k] > greatest(covered[k], 0)) <> listed[k] AND rids[k] > 0 THEN
            IF listed[k] THEN
                went := went || rids[k];
            ELSE
                came := came || rids[k];
            END IF;
        END IF;
    END LOOP;
    IF cardinality(came) > 0 THEN
        INSERT INTO collab.uncovered (rid) SELECT u.rid FROM unnest(came) AS u(rid);
    END IF;
    IF cardinality(went) > 0 THEN
        DELETE FROM collab.uncovered AS o WHERE o.rid = ANY (went);
    END IF;
    IF p_writer IS NOT NULL THEN
        UPDATE collab.receipts AS r SET nid = me, number = p_number, seqs = o_seqs, positions = o_positions
            WHERE r.writer = p_writer;
        IF NOT FOUND THEN
            INSERT INTO collab.receipts (writer, nid, number, seqs, positions)
                VALUES (p_writer, me, p_number, o_seqs, o_positions);
        END IF;
    END IF;
END $$;

CREATE FUNCTION collab.set_aside_1(
    me int, p_project text, p_collection text, p_id text, p_seq bigint, p_content bytea, p_reason text, p_at float8
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    of_rid bigint;
BEGIN
    PERFORM collab.write_1(me);
    SELECT d.rid INTO of_rid FROM collab.documents AS d
        WHERE d.project = p_project AND d.collection = p_collection AND d.id = p_id FOR UPDATE;
    INSERT INTO collab.set_aside (project, collection, id, seq, content, reason, at)
        SELECT p_project, p_collection, p_id, p_seq, p_content, p_reason, p_at
        WHERE NOT EXISTS (SELECT 1 FROM collab.set_aside AS a
            WHERE a.project = p_project AND a.collection = p_collection AND a.id = p_id
            AND a.seq IS NOT DISTINCT FROM p_seq AND a.content = p_content);
    IF of_rid IS NOT NULL THEN
        DELETE FROM collab.log AS l WHERE l.rid = of_rid AND l.seq = p_seq;
        PERFORM collab.list_uncovered_1(ARRAY[of_rid]);
    END IF;
END $$;

CREATE FUNCTION collab.cover_1(me int, p_project text, p_collection text, p_id text, p_seq bigint)
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
    me int, p_project text, p_collection text, p_id text, p_seq bigint,
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
        WHERE d.project = p_project AND d.collection = p_collection AND d.id = p_id FOR UPDATE;
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

CREATE FUNCTION collab.erase_1(me int, k_project text[], k_collection text[], k_id text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rids bigint[];
    eids bigint[];
BEGIN
    PERFORM collab.write_1(me);
    rids := ARRAY(SELECT d.rid FROM collab.documents AS d JOIN unnest(k_project, k_collection, k_id) AS k(p, c, i)
        ON d.project = k.p AND d.collection = k.c AND d.id = k.i ORDER BY d.rid FOR UPDATE OF d);
    PERFORM collab.lock_positions_1(ARRAY(SELECT DISTINCT k.p COLLATE "C" FROM unnest(k_project) AS k(p) ORDER BY 1));
    UPDATE collab.projects AS p SET newest = greatest(p.newest, coalesce(
            (SELECT max(v.position) FROM collab.events AS v WHERE v.project = p.project), 0))
        WHERE p.project = ANY (k_project);
    UPDATE collab.record AS r SET newest_at = greatest(r.newest_at, coalesce((SELECT max((
        SELECT v.at FROM collab.events AS v WHERE v.project = p.project ORDER BY v.position DESC LIMIT 1))
        FROM collab.projects AS p), 0));
    eids := ARRAY(SELECT e.eid FROM collab.entities AS e JOIN unnest(k_project, k_collection, k_id) AS k(p, c, i)
        ON e.project = k.p AND e.collection = k.c AND e.id = k.i);
    DELETE FROM collab.log WHERE rid = ANY (rids);
    DELETE FROM collab.snapshots WHERE rid = ANY (rids);
    DELETE FROM collab.archive WHERE rid = ANY (rids);
    DELETE FROM collab.bases WHERE rid = ANY (rids);
    DELETE FROM collab.uncovered WHERE rid = ANY (rids);
    DELETE FROM collab.documents WHERE rid = ANY (rids);
    DELETE FROM collab.events WHERE eid = ANY (eids);
    UPDATE collab.requests SET eid = 0, digest = '' WHERE eid = ANY (eids); -- the names stay taken
    DELETE FROM collab.entities WHERE eid = ANY (eids);
    DELETE FROM collab.set_aside AS s USING unnest(k_project, k_collection, k_id) AS k(p, c, i)
        WHERE s.project = k.p AND s.collection = k.c AND s.id = k.i;
    DELETE FROM collab.dead_letters AS s USING unnest(k_project, k_collection, k_id) AS k(p, c, i)
        WHERE s.project = k.p AND s.collection = k.c AND s.id = k.i;
END $$;

-- Forgets some of a project's events up to p_cut; what an entity was then stays. Returns whether more are left.
CREATE FUNCTION collab.trim_events_1(me int, p_project text, p_cut bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    start bigint;
    upto bigint;
BEGIN
    PERFORM collab.fence_1(me);
    PERFORM collab.lock_positions_1(ARRAY[p_project]);
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

-- Forgets some of the named writes from before a moment. Returns whether more may be left.
CREATE FUNCTION collab.trim_requests_1(me int, before float8, p_limit bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    gone bigint;
BEGIN
    PERFORM collab.fence_1(me);
    DELETE FROM collab.requests WHERE number IN
        (SELECT r.number FROM collab.requests AS r WHERE r.at < before LIMIT p_limit);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone = p_limit;
END $$;

-- Forgets the history from before a moment of some documents behind one. Returns the last of them, NULL at the end.
CREATE FUNCTION collab.trim_history_1(me int, p_after bigint, before float8, p_limit bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    rids bigint[];
    of_rid bigint;
BEGIN
    PERFORM collab.fence_1(me);
    rids := ARRAY(SELECT DISTINCT a.rid FROM collab.archive AS a WHERE a.rid > p_after AND a.to_at < before
        ORDER BY a.rid LIMIT p_limit);
    FOREACH of_rid IN ARRAY rids LOOP
        PERFORM 1 FROM collab.documents AS d WHERE d.rid = of_rid FOR UPDATE;
        PERFORM collab.cut_1(of_rid, before);
    END LOOP;
    RETURN CASE WHEN cardinality(rids) = p_limit THEN of_rid END;
END $$;

CREATE FUNCTION collab.save_schema_1(me int, p_project text, p_collection text, p_version bigint, p_content bytea)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    INSERT INTO collab.schemas VALUES (p_project, p_collection, p_version, p_content)
        ON CONFLICT (project, collection) DO UPDATE SET version = excluded.version, content = excluded.content;
END $$;

CREATE FUNCTION collab.revoke_1(
    me int, p_project text, p_kind text, p_name text, p_issued_before float8, p_kept_until float8, p_now float8
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    DELETE FROM collab.revocations WHERE kept_until <= p_now;
    INSERT INTO collab.revocations AS r VALUES (p_project, p_kind, p_name, p_issued_before, p_kept_until)
        ON CONFLICT (project, kind, name) DO UPDATE SET
            issued_before = greatest(r.issued_before, excluded.issued_before),
            kept_until = greatest(r.kept_until, excluded.kept_until);
END $$;

-- l: dead letters. The row of the webhook is written first, so that of two saves one waits for the other.
CREATE FUNCTION collab.save_webhook_1(
    me int, p_name text, p_project text, p_position bigint, p_keep bigint,
    l_project text[], l_collection text[], l_id text[], l_event text[], l_reason text[], l_at float8[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    INSERT INTO collab.webhooks VALUES (p_name, p_project, p_position)
        ON CONFLICT (name, project) DO UPDATE SET position = excluded.position;
    IF cardinality(l_event) > 0 THEN
        INSERT INTO collab.dead_letters (webhook, project, collection, id, event, reason, at)
            SELECT p_name, l.project, l.collection, l.id, l.event, l.reason, l.at
            FROM unnest(l_project, l_collection, l_id, l_event, l_reason, l_at)
                WITH ORDINALITY AS l(project, collection, id, event, reason, at, i)
            WHERE NOT EXISTS (SELECT 1 FROM collab.dead_letters AS d
                WHERE d.webhook = p_name AND d.project = l.project AND d.event = l.event) ORDER BY l.i;
        DELETE FROM collab.dead_letters AS d WHERE d.webhook = p_name AND d.number <= (
            SELECT o.number FROM collab.dead_letters AS o WHERE o.webhook = p_name
            ORDER BY o.number DESC LIMIT 1 OFFSET p_keep);
    END IF;
END $$;
"""
)
"""The functions of schema version 1."""


def names_in(parameters: str) -> str:
    """The names of a function's parameters, to pass them on."""
    return ", ".join(parameter.split()[0] for parameter in parameters.rstrip(", \n").split(","))
