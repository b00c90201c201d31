"""Tables and functions in the database for full-text search.

``search_collections`` says what is searched, and up to which row the texts are stored (NULL: of all rows). Who declares
that waits for all commits that know something else, and those that come later are refused: so no commit stores a text
of other members behind the back of who indexes the rows. A text is never replaced by that of an earlier version.

``search_unread`` lists entities of which the contents of the document are searched and still to be read. Whoever has
read them stores them only if ``content_seq`` is still the row up to which they were read. ``reading``: they are those
of documents from before their contents were searched.
"""

from __future__ import annotations

from typing import Final

from collab.storage.postgres.functions import COMMIT_1_PARAMETERS, COMMIT_RESULT, names_in

COMMIT_2_PARAMETERS: Final = (
    COMMIT_1_PARAMETERS
    + """\
    c_collection text[], c_form text[],
    s_project text[], s_collection text[], s_id text[], s_version bigint[], s_scope text[], s_fields text[],
"""
)

SEARCH_FUNCTIONS_2: Final = (
    r"""
CREATE TABLE collab.search_collections (
    collection text COLLATE "C" PRIMARY KEY,
    form text NOT NULL,
    reached bigint
);

CREATE FUNCTION collab.search_words_2(scope text, fields text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
    SELECT array_to_tsvector(coalesce(array_agg(DISTINCT scope || w.word), '{}'))
        FROM unnest(string_to_array(translate(fields, E'\n', ' '), ' ')) AS w(word) WHERE w.word <> ''
$$;

CREATE TABLE collab.search_texts (
    eid bigint PRIMARY KEY REFERENCES collab.entities ON DELETE CASCADE,
    version bigint NOT NULL,
    scope text COLLATE "C" NOT NULL,
    fields text COLLATE "C" NOT NULL,
    words tsvector GENERATED ALWAYS AS (collab.search_words_2(scope, fields)) STORED
);
CREATE INDEX search_words ON collab.search_texts USING gin (words);

-- As commit_1. c: collections of entities that are written, each with what the caller takes for what is searched
-- there; s: entities whose texts change.
CREATE FUNCTION collab.commit_2(
"""  # noqa: S608 - constants
    + COMMIT_2_PARAMETERS
    + COMMIT_RESULT
    + r"""
BEGIN
    LOCK TABLE collab.search_collections IN ROW SHARE MODE;
    IF EXISTS (SELECT 1 FROM unnest(c_collection, c_form) AS c(collection, form)
            LEFT JOIN collab.search_collections AS s ON s.collection = c.collection
            WHERE coalesce(s.form, '') <> c.form) THEN
        RAISE EXCEPTION 'what is searched has been declared anew' USING ERRCODE = 'LC006';
    END IF;
    SELECT c.o_seqs, c.o_positions INTO o_seqs, o_positions FROM collab.commit_1("""
    + names_in(COMMIT_1_PARAMETERS)
    + r""") AS c;
    IF cardinality(s_id) > 0 THEN
        PERFORM collab.store_texts_2(ARRAY(SELECT e.eid
                FROM unnest(s_project, s_collection, s_id) WITH ORDINALITY AS s(project, collection, id, i)
                JOIN collab.entities AS e ON e.project = s.project AND e.collection = s.collection AND e.id = s.id
                ORDER BY s.i),
            s_version, s_scope, s_fields);
    END IF;
END $$;

-- Stores texts of rows that are still there, unless there is a newer one of them.
CREATE FUNCTION collab.store_texts_2(s_eid bigint[], s_version bigint[], s_scope text[], s_fields text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO collab.search_texts AS t (eid, version, scope, fields)
        SELECT s.eid, s.version, s.scope, s.fields
        FROM unnest(s_eid, s_version, s_scope, s_fields) AS s(eid, version, scope, fields)
        JOIN collab.entities AS e ON e.eid = s.eid ORDER BY s.eid FOR KEY SHARE OF e
        ON CONFLICT (eid) DO UPDATE SET version = excluded.version, scope = excluded.scope, fields = excluded.fields
        WHERE t.version < excluded.version
        OR t.version = excluded.version AND (t.scope <> excluded.scope OR t.fields <> excluded.fields);
END $$;

-- Declares what is searched in a collection. Returns whether rows are still to be indexed.
CREATE FUNCTION collab.declare_search_2(me int, p_collection text, p_form text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    known collab.search_collections;
BEGIN
    PERFORM collab.fence_1(me);
    SELECT * INTO known FROM collab.search_collections AS s WHERE s.collection = p_collection;
    IF coalesce(known.form, '') = p_form AND known.reached IS NULL THEN
        RETURN false;
    END IF;
    LOCK TABLE collab.search_collections IN EXCLUSIVE MODE;
    SELECT * INTO known FROM collab.search_collections AS s WHERE s.collection = p_collection;
    IF coalesce(known.form, '') = p_form THEN
        RETURN known.reached IS NOT NULL;
    END IF;
    INSERT INTO collab.search_collections VALUES (p_collection, p_form, 0)
        ON CONFLICT (collection) DO UPDATE SET form = excluded.form, reached = 0;
    RETURN true;
END $$;

-- Stores the texts of some rows of a collection, up to p_reached (NULL: the last one), unless it was declared anew.
CREATE FUNCTION collab.index_some_2(
    me int, p_collection text, p_form text, p_reached bigint,
    s_eid bigint[], s_version bigint[], s_scope text[], s_fields text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    LOCK TABLE collab.search_collections IN ROW SHARE MODE;
    IF NOT EXISTS (SELECT 1 FROM collab.search_collections AS s
            WHERE s.collection = p_collection AND s.form = p_form) THEN
        RETURN false;
    END IF;
    IF p_form = '' THEN
        DELETE FROM collab.search_texts WHERE eid = ANY (s_eid);
    ELSE
        PERFORM collab.store_texts_2(s_eid, s_version, s_scope, s_fields);
    END IF;
    UPDATE collab.search_collections SET reached = p_reached WHERE collection = p_collection;
    DELETE FROM collab.search_collections WHERE collection = p_collection AND form = '' AND reached IS NULL;
    RETURN true;
END $$;
"""
)

SEARCH_FUNCTIONS_3: Final = (
    r"""
CREATE FUNCTION collab.search_words_3(scope text, fields text, contents text) RETURNS tsvector
LANGUAGE sql IMMUTABLE AS $$
    SELECT collab.search_words_2(scope, fields || ' ' || contents)
$$;

ALTER TABLE collab.search_texts
    ADD COLUMN contents text COLLATE "C" NOT NULL DEFAULT '',
    DROP COLUMN words;
ALTER TABLE collab.search_texts
    ADD COLUMN words tsvector GENERATED ALWAYS AS (collab.search_words_3(scope, fields, contents)) STORED;
CREATE INDEX search_words ON collab.search_texts USING gin (words);

ALTER TABLE collab.search_collections ADD COLUMN reading boolean NOT NULL DEFAULT false;

CREATE TABLE collab.search_unread (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    eid bigint NOT NULL UNIQUE REFERENCES collab.entities ON DELETE CASCADE
);

-- As commit_2. x: entities whose contents change, each with their text; NULL: nobody has computed it.
CREATE FUNCTION collab.commit_3(
"""  # noqa: S608 - constants
    + COMMIT_2_PARAMETERS
    + """\
    x_project text[], x_collection text[], x_id text[], x_scope text[], x_text text[],
"""
    + COMMIT_RESULT
    + r"""
BEGIN
    SELECT c.o_seqs, c.o_positions INTO o_seqs, o_positions FROM collab.commit_2("""
    + names_in(COMMIT_2_PARAMETERS)
    + r""") AS c;
    PERFORM collab.store_contents_3(ARRAY(SELECT e.eid
            FROM unnest(x_project, x_collection, x_id) WITH ORDINALITY AS x(project, collection, id, i)
            JOIN collab.entities AS e ON e.project = x.project AND e.collection = x.collection AND e.id = x.id
            ORDER BY x.i),
        x_scope, x_text);
END $$;

-- Stores the contents of rows that are still there, or lists them as unread. Version 0: their fields are not known.
CREATE FUNCTION collab.store_contents_3(s_eid bigint[], s_scope text[], s_text text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO collab.search_texts AS t (eid, version, scope, fields, contents)
        SELECT s.eid, 0, s.scope, '', s.text FROM unnest(s_eid, s_scope, s_text) AS s(eid, scope, text)
        JOIN collab.entities AS e ON e.eid = s.eid WHERE s.text IS NOT NULL ORDER BY s.eid FOR KEY SHARE OF e
        ON CONFLICT (eid) DO UPDATE SET scope = excluded.scope, contents = excluded.contents
        WHERE t.scope <> excluded.scope OR t.contents <> excluded.contents;
    DELETE FROM collab.search_unread AS u USING unnest(s_eid, s_text) AS s(eid, text)
        WHERE u.eid = s.eid AND s.text IS NOT NULL;
    INSERT INTO collab.search_unread (eid)
        SELECT s.eid FROM unnest(s_eid, s_text) AS s(eid, text)
        JOIN collab.entities AS e ON e.eid = s.eid WHERE s.text IS NULL ORDER BY s.eid FOR KEY SHARE OF e
        ON CONFLICT (eid) DO NOTHING;
END $$;

-- As cover_1, with the contents: NULL if nobody has computed their text. p_form is what the caller takes for what is
-- searched.
CREATE FUNCTION collab.cover_3(
    me int, p_project text, p_collection text, p_id text, p_seq bigint, p_form text, p_scope text, p_text text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    of_eid bigint;
BEGIN
    LOCK TABLE collab.search_collections IN ROW SHARE MODE;
    IF NOT EXISTS (SELECT 1 FROM collab.search_collections AS s
            WHERE s.collection = p_collection AND s.form = p_form) THEN
        RAISE EXCEPTION 'what is searched has been declared anew' USING ERRCODE = 'LC006';
    END IF;
    SELECT e.eid INTO of_eid FROM collab.entities AS e
        WHERE e.project = p_project AND e.collection = p_collection AND e.id = p_id AND e.content_seq <= p_seq;
    PERFORM collab.cover_1(me, p_project, p_collection, p_id, p_seq);
    IF of_eid IS NOT NULL THEN
        PERFORM collab.store_contents_3(ARRAY[of_eid], ARRAY[p_scope], ARRAY[p_text]);
    END IF;
END $$;

-- As declare_search_2. p_prefix is how all forms begin with which the contents are stored as with p_form, NULL if it
-- stores none. Otherwise the documents that are there are listed as unread.
CREATE FUNCTION collab.declare_search_3(me int, p_collection text, p_form text, p_prefix text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    before text;
    begun boolean;
BEGIN
    PERFORM collab.fence_1(me);
    SELECT s.form INTO before FROM collab.search_collections AS s WHERE s.collection = p_collection;
    IF coalesce(before, '') <> p_form THEN
        LOCK TABLE collab.search_collections IN EXCLUSIVE MODE;
        SELECT s.form INTO before FROM collab.search_collections AS s WHERE s.collection = p_collection;
    END IF;
    begun := collab.declare_search_2(me, p_collection, p_form);
    IF coalesce(before, '') = p_form THEN
        RETURN begun;
    END IF;
    IF p_prefix IS NULL THEN
        DELETE FROM collab.search_unread AS u USING collab.entities AS e
            WHERE e.eid = u.eid AND e.collection = p_collection;
        UPDATE collab.search_collections SET reading = false WHERE collection = p_collection;
    ELSIF NOT starts_with(coalesce(before, ''), p_prefix) THEN
        INSERT INTO collab.search_unread (eid)
            SELECT e.eid FROM collab.entities AS e
            JOIN collab.documents AS d ON d.project = e.project AND d.collection = e.collection AND d.id = e.id
            WHERE e.collection = p_collection ORDER BY e.eid FOR KEY SHARE OF e
            ON CONFLICT (eid) DO NOTHING;
        UPDATE collab.search_collections SET reading = EXISTS (SELECT 1 FROM collab.search_unread AS u
            JOIN collab.entities AS e ON e.eid = u.eid WHERE e.collection = p_collection)
            WHERE collection = p_collection;
    END IF;
    RETURN begun;
END $$;

-- As index_some_2. p_clears: contents are searched no more.
CREATE FUNCTION collab.index_some_3(
    me int, p_collection text, p_form text, p_reached bigint,
    s_eid bigint[], s_version bigint[], s_scope text[], s_fields text[], p_clears boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    ours boolean;
BEGIN
    ours := collab.index_some_2(me, p_collection, p_form, p_reached, s_eid, s_version, s_scope, s_fields);
    IF ours AND p_clears THEN
        UPDATE collab.search_texts SET contents = '' WHERE eid = ANY (s_eid) AND contents <> '';
    END IF;
    RETURN ours;
END $$;

-- Stores the contents of an unread document, unless they, or what is searched of them, have changed. p_prefix is as in
-- declare_search_3.
CREATE FUNCTION collab.save_contents_3(
    me int, p_project text, p_collection text, p_id text, p_seq bigint, p_prefix text, p_scope text, p_text text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    of_eid bigint;
BEGIN
    PERFORM collab.fence_1(me);
    LOCK TABLE collab.search_collections IN ROW SHARE MODE;
    SELECT e.eid INTO of_eid FROM collab.entities AS e
        WHERE e.project = p_project AND e.collection = p_collection AND e.id = p_id AND e.content_seq = p_seq
        FOR NO KEY UPDATE;
    IF of_eid IS NOT NULL AND EXISTS (SELECT 1 FROM collab.search_unread AS u WHERE u.eid = of_eid)
            AND EXISTS (SELECT 1 FROM collab.search_collections AS s
                WHERE s.collection = p_collection AND starts_with(s.form, p_prefix)) THEN
        PERFORM collab.store_contents_3(ARRAY[of_eid], ARRAY[p_scope], ARRAY[p_text]);
    END IF;
END $$;

-- Lets collections be searched of whose documents none is unread.
CREATE FUNCTION collab.end_reading_3(me int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM collab.fence_1(me);
    LOCK TABLE collab.search_collections IN SHARE ROW EXCLUSIVE MODE; -- nobody lists documents meanwhile
    UPDATE collab.search_collections AS s SET reading = false WHERE s.reading AND NOT EXISTS
        (SELECT 1 FROM collab.search_unread AS u JOIN collab.entities AS e ON e.eid = u.eid
        WHERE e.collection = s.collection);
END $$;
"""
)
