-- Everything a store keeps. Each table of runs carries (namespace_id, workflow_id) in its key, by which it is
-- partitioned by hash and would be distributed over machines. Texts compare by bytes (COLLATE "C").

-- One row per opening: who has the place, until when, and the newest commit it made.
CREATE TABLE @schema@.node (
    epoch bigint PRIMARY KEY,
    -- The connection that may commit: a new one counts up, so that what an old one left behind is refused.
    generation integer NOT NULL DEFAULT 0,
    commit_number bigint NOT NULL DEFAULT 0,
    host text NOT NULL,
    pid integer NOT NULL,
    program text NOT NULL,
    is_alone boolean NOT NULL,
    lease_until timestamptz NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE @schema@.counter (
    name text PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO @schema@.counter VALUES ('epoch', 0);

CREATE TABLE @schema@.namespace (
    namespace_id uuid PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY,
    name text COLLATE "C" NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 0,
    body bytea NOT NULL
);

CREATE TABLE @schema@.document (
    namespace_id uuid NOT NULL,
    kind text COLLATE "C" NOT NULL,
    -- The id as bytes of bounded length that sort as the ids do.
    id_key bytea NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    -- Who made that version.
    writer bigint NOT NULL DEFAULT 0,
    body bytea NOT NULL,
    PRIMARY KEY (namespace_id, kind, id_key)
);
CREATE INDEX document_version ON @schema@.document (kind) WHERE version > 0;

CREATE TABLE @schema@.current_run (
    namespace_id uuid NOT NULL,
    workflow_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    PRIMARY KEY (namespace_id, workflow_id)
) PARTITION BY HASH (namespace_id, workflow_id);

CREATE TABLE @schema@.run (
    namespace_id uuid NOT NULL,
    workflow_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    version bigint NOT NULL,
    -- Who committed that version: two nodes may have made one of the same number, and only one was kept.
    writer bigint NOT NULL,
    -- The node that watches its timers.
    node bigint NOT NULL,
    -- When it is to be looked at (milliseconds since the epoch); 0: never.
    due_ms bigint NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (run_id, namespace_id, workflow_id)
) PARTITION BY HASH (namespace_id, workflow_id);
CREATE INDEX run_due ON @schema@.run (due_ms) WHERE due_ms > 0;

CREATE TABLE @schema@.history (
    namespace_id uuid NOT NULL,
    workflow_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    first_event_id bigint NOT NULL,
    event_count bigint NOT NULL,
    batch bytea NOT NULL,
    PRIMARY KEY (run_id, first_event_id, namespace_id, workflow_id)
) PARTITION BY HASH (namespace_id, workflow_id);

CREATE TABLE @schema@.task (
    namespace_id uuid NOT NULL,
    workflow_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    kind smallint NOT NULL,
    task_id bigint NOT NULL,
    queue_key bytea NOT NULL,
    task_queue text COLLATE "C" NOT NULL,
    scheduled_event_id bigint NOT NULL,
    owner_epoch bigint NOT NULL,
    -- The node in whose memory the task is; 0: anybody may claim it.
    node bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (task_id, namespace_id, workflow_id, kind, queue_key)
) PARTITION BY HASH (namespace_id, workflow_id);
CREATE INDEX task_queue ON @schema@.task (namespace_id, kind, queue_key, task_id);
CREATE INDEX task_node ON @schema@.task (node) WHERE node <> 0;

CREATE TABLE @schema@.visibility (
    namespace_id uuid NOT NULL,
    workflow_id text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    workflow_type text COLLATE "C" NOT NULL,
    task_queue text COLLATE "C" NOT NULL,
    status smallint NOT NULL,
    start_time bigint NOT NULL,
    execution_time bigint NOT NULL,
    close_time bigint NOT NULL,
    history_length bigint NOT NULL,
    history_size_bytes bigint NOT NULL,
    state_transition_count bigint NOT NULL,
    parent_workflow_id text COLLATE "C" NOT NULL,
    parent_run_id text COLLATE "C" NOT NULL,
    root_workflow_id text COLLATE "C" NOT NULL,
    root_run_id text COLLATE "C" NOT NULL,
    memo bytea NOT NULL,
    search_attributes bytea NOT NULL,
    -- The search attributes as filters see them, by letter of their type and name: {"k.Customer": "alice"}.
    attributes jsonb,
    PRIMARY KEY (run_id, namespace_id, workflow_id)
) PARTITION BY HASH (namespace_id, workflow_id);
CREATE INDEX visibility_open ON @schema@.visibility (namespace_id, start_time DESC, run_id) WHERE close_time = 0;
CREATE INDEX visibility_closed ON @schema@.visibility (namespace_id, close_time DESC, start_time DESC, run_id)
    WHERE close_time > 0;
CREATE INDEX visibility_workflow_id ON @schema@.visibility (namespace_id, workflow_id);
CREATE INDEX visibility_parent ON @schema@.visibility (namespace_id, parent_workflow_id)
    WHERE parent_workflow_id <> '';
CREATE INDEX visibility_attributes ON @schema@.visibility USING gin (attributes jsonb_path_ops)
    WHERE attributes IS NOT NULL;

-- What one node asks of another, and the answers. Nothing in it outlives a crash of the database.
CREATE UNLOGGED TABLE @schema@.message (
    id uuid PRIMARY KEY,
    node bigint NOT NULL,
    sender bigint NOT NULL,
    kind text NOT NULL,
    body bytea NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX message_node ON @schema@.message (node);

-- What transactions of users ask for, until it is carried out; what was refused stays, with the error.
CREATE TABLE @schema@.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id text NOT NULL,
    method text NOT NULL,
    body bytea NOT NULL,
    error text,
    written_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_waiting ON @schema@.outbox (id) WHERE error IS NULL;

DO $$
BEGIN
    FOR i IN 0 .. @partitions@ - 1 LOOP
        EXECUTE format('CREATE TABLE @schema@.current_run_%s PARTITION OF @schema@.current_run
            FOR VALUES WITH (MODULUS @partitions@, REMAINDER %s)', i, i);
        EXECUTE format('CREATE TABLE @schema@.run_%s PARTITION OF @schema@.run
            FOR VALUES WITH (MODULUS @partitions@, REMAINDER %s) WITH (fillfactor = 70)', i, i);
        EXECUTE format('CREATE TABLE @schema@.history_%s PARTITION OF @schema@.history
            FOR VALUES WITH (MODULUS @partitions@, REMAINDER %s)', i, i);
        EXECUTE format('CREATE TABLE @schema@.task_%s PARTITION OF @schema@.task
            FOR VALUES WITH (MODULUS @partitions@, REMAINDER %s)', i, i);
        EXECUTE format('CREATE TABLE @schema@.visibility_%s PARTITION OF @schema@.visibility
            FOR VALUES WITH (MODULUS @partitions@, REMAINDER %s) WITH (fillfactor = 90)', i, i);
    END LOOP;
END
$$;

-- One commit: all of it, or an error and nothing.
--
-- PD409: a version or a current run was not as expected. PD410: the caller's lease was given to somebody else, or
-- a newer connection of the caller commits now.
CREATE FUNCTION @schema@.commit_1(
    p_epoch bigint, p_generation integer, p_number bigint, p_lease interval, p_is_durable boolean,
    -- runs that come (c), change (u), go (d)
    c_namespace uuid[], c_workflow text[], c_run uuid[], c_version bigint[], c_due bigint[], c_state bytea[],
    u_namespace uuid[], u_workflow text[], u_run uuid[], u_version bigint[], u_base bigint[],
    u_due bigint[], u_undue bigint[], u_state bytea[],
    d_namespace uuid[], d_workflow text[], d_run uuid[], d_version bigint[], d_base bigint[],
    -- current runs: set whatever was there (s), where there was none (n), in place of another (x)
    s_namespace uuid[], s_workflow text[], s_run uuid[],
    n_namespace uuid[], n_workflow text[], n_run uuid[],
    x_namespace uuid[], x_workflow text[], x_run uuid[], x_other uuid[],
    h_namespace uuid[], h_workflow text[], h_run uuid[], h_first bigint[], h_count bigint[], h_batch bytea[],
    -- tasks that go (g) and are put (t)
    g_namespace uuid[], g_workflow text[], g_kind smallint[], g_task bigint[], g_key bytea[],
    t_namespace uuid[], t_workflow text[], t_run uuid[], t_kind smallint[], t_task bigint[], t_key bytea[],
    t_queue text[], t_event bigint[], t_owner bigint[], t_node bigint[], t_body bytea[],
    -- visibility: gone (w), shown (v)
    w_namespace uuid[], w_workflow text[], w_run uuid[],
    v_namespace uuid[], v_workflow text[], v_run uuid[], v_type text[], v_queue text[], v_status smallint[],
    v_start bigint[], v_execution bigint[], v_close bigint[], v_length bigint[], v_size bigint[], v_transitions bigint[],
    v_parent text[], v_parent_run text[], v_root text[], v_root_run text[], v_memo bytea[], v_search bytea[],
    v_attributes jsonb[],
    -- documents: gone (e), put whatever was there (o), made (m), in place of the version before (k)
    e_namespace uuid[], e_kind text[], e_key bytea[], e_version bigint[], e_base bigint[],
    o_namespace uuid[], o_kind text[], o_key bytea[], o_id text[], o_body bytea[],
    m_namespace uuid[], m_kind text[], m_key bytea[], m_id text[], m_body bytea[],
    k_namespace uuid[], k_kind text[], k_key bytea[], k_version bigint[], k_base bigint[], k_body bytea[]
) RETURNS void LANGUAGE plpgsql
-- The arrays are short and the tables long, whatever the statistics of a young table say.
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
AS $$
DECLARE
    n bigint;
BEGIN
    IF NOT p_is_durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    ELSIF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    UPDATE @schema@.node SET commit_number = p_number, lease_until = clock_timestamp() + p_lease
        WHERE epoch = p_epoch AND generation = p_generation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease of epoch % is gone', p_epoch USING ERRCODE = 'PD410';
    END IF;

    IF cardinality(c_run) > 0 THEN
        INSERT INTO @schema@.run (namespace_id, workflow_id, run_id, version, writer, node, due_ms, state)
            SELECT a, b, c, d, p_epoch, p_epoch, e, f FROM unnest(c_namespace, c_workflow, c_run, c_version, c_due, c_state)
                AS t(a, b, c, d, e, f)
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(c_run) THEN
            RAISE EXCEPTION 'stale' USING ERRCODE = 'PD409';
        END IF;
    END IF;
    IF cardinality(u_run) > 0 THEN
        UPDATE @schema@.run r SET version = t.d, writer = p_epoch, node = p_epoch, state = coalesce(t.g, r.state),
                due_ms = CASE WHEN t.e > 0 THEN t.e WHEN r.due_ms = t.f THEN 0 ELSE r.due_ms END
            FROM unnest(u_namespace, u_workflow, u_run, u_version, u_base, u_due, u_undue, u_state)
                AS t(a, b, c, d, h, e, f, g)
            WHERE r.run_id = t.c AND r.namespace_id = t.a AND r.workflow_id = t.b AND r.version = t.d - 1
                AND (t.h = 0 OR r.writer = t.h);
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(u_run) THEN
            RAISE EXCEPTION 'stale' USING ERRCODE = 'PD409';
        END IF;
    END IF;
    IF cardinality(d_run) > 0 THEN
        DELETE FROM @schema@.run r USING unnest(d_namespace, d_workflow, d_run, d_version, d_base)
                AS t(a, b, c, d, h)
            WHERE r.run_id = t.c AND r.namespace_id = t.a AND r.workflow_id = t.b AND r.version = t.d - 1
                AND (t.h = 0 OR r.writer = t.h);
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(d_run) THEN
            RAISE EXCEPTION 'stale' USING ERRCODE = 'PD409';
        END IF;
        DELETE FROM @schema@.history r USING unnest(d_namespace, d_workflow, d_run) AS t(a, b, c)
            WHERE r.run_id = t.c AND r.namespace_id = t.a AND r.workflow_id = t.b;
        DELETE FROM @schema@.current_run r USING unnest(d_namespace, d_workflow, d_run) AS t(a, b, c)
            WHERE r.run_id = t.c AND r.namespace_id = t.a AND r.workflow_id = t.b;
    END IF;

    IF cardinality(n_run) > 0 THEN
        INSERT INTO @schema@.current_run (namespace_id, workflow_id, run_id)
            SELECT a, b, c FROM unnest(n_namespace, n_workflow, n_run) AS t(a, b, c)
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(n_run) THEN
            RAISE EXCEPTION 'stale' USING ERRCODE = 'PD409';
        END IF;
    END IF;
    IF cardinality(x_run) > 0 THEN
        UPDATE @schema@.current_run r SET run_id = t.c
            FROM unnest(x_namespace, x_workflow, x_run, x_other) AS t(a, b, c, d)
            WHERE r.namespace_id = t.a AND r.workflow_id = t.b AND r.run_id = t.d;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(x_run) THEN
            RAISE EXCEPTION 'stale' USING ERRCODE = 'PD409';
        END IF;
    END IF;
    IF cardinality(s_run) > 0 THEN
        INSERT INTO @schema@.current_run AS r (namespace_id, workflow_id, run_id)
            SELECT a, b, c FROM unnest(s_namespace, s_workflow, s_run) AS t(a, b, c)
            ON CONFLICT (namespace_id, workflow_id) DO UPDATE SET run_id = excluded.run_id;
    END IF;

    IF cardinality(h_run) > 0 THEN
        INSERT INTO @schema@.history (namespace_id, workflow_id, run_id, first_event_id, event_count, batch)
            SELECT a, b, c, d, e, f FROM unnest(h_namespace, h_workflow, h_run, h_first, h_count, h_batch)
                AS t(a, b, c, d, e, f);
    END IF;

    IF cardinality(g_task) > 0 THEN
        DELETE FROM @schema@.task r USING unnest(g_namespace, g_workflow, g_kind, g_task, g_key) AS t(a, b, c, d, e)
            WHERE r.task_id = t.d AND r.namespace_id = t.a AND r.workflow_id = t.b AND r.kind = t.c
                AND r.queue_key = t.e;
    END IF;
    IF cardinality(t_task) > 0 THEN
        INSERT INTO @schema@.task AS r (namespace_id, workflow_id, run_id, kind, task_id, queue_key, task_queue,
                scheduled_event_id, owner_epoch, node, body)
            SELECT a, b, c, d, e, f, g, h, i, j, k
                FROM unnest(t_namespace, t_workflow, t_run, t_kind, t_task, t_key, t_queue, t_event, t_owner, t_node,
                    t_body) AS t(a, b, c, d, e, f, g, h, i, j, k)
            ON CONFLICT (task_id, namespace_id, workflow_id, kind, queue_key) DO UPDATE SET
                run_id = excluded.run_id, scheduled_event_id = excluded.scheduled_event_id,
                owner_epoch = excluded.owner_epoch, node = excluded.node, body = excluded.body;
    END IF;

    IF cardinality(w_run) > 0 THEN
        DELETE FROM @schema@.visibility r USING unnest(w_namespace, w_workflow, w_run) AS t(a, b, c)
            WHERE r.run_id = t.c AND r.namespace_id = t.a AND r.workflow_id = t.b;
    END IF;
    IF cardinality(v_run) > 0 THEN
        INSERT INTO @schema@.visibility AS r
            SELECT * FROM unnest(v_namespace, v_workflow, v_run, v_type, v_queue, v_status, v_start, v_execution, v_close,
                v_length, v_size, v_transitions, v_parent, v_parent_run, v_root, v_root_run, v_memo, v_search,
                v_attributes)
            ON CONFLICT (run_id, namespace_id, workflow_id) DO UPDATE SET
                workflow_type = excluded.workflow_type, task_queue = excluded.task_queue, status = excluded.status,
                start_time = excluded.start_time, execution_time = excluded.execution_time,
                close_time = excluded.close_time, history_length = excluded.history_length,
                history_size_bytes = excluded.history_size_bytes,
                state_transition_count = excluded.state_transition_count,
                parent_workflow_id = excluded.parent_workflow_id, parent_run_id = excluded.parent_run_id,
                root_workflow_id = excluded.root_workflow_id, root_run_id = excluded.root_run_id,
                memo = excluded.memo, search_attributes = excluded.search_attributes,
                attributes = excluded.attributes;
    END IF;

    IF cardinality(e_key) > 0 THEN
        DELETE FROM @schema@.document r USING unnest(e_namespace, e_kind, e_key, e_version, e_base)
                AS t(a, b, c, d, h)
            WHERE r.namespace_id = t.a AND r.kind = t.b AND r.id_key = t.c
                AND (t.d = 0 OR r.version = t.d - 1 AND (t.h = 0 OR r.writer = t.h));
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n < (SELECT count(*) FROM unnest(e_version) AS t(d) WHERE t.d > 0) THEN
            RAISE EXCEPTION 'stale' USING ERRCODE = 'PD409';
        END IF;
    END IF;
    IF cardinality(o_key) > 0 THEN
        INSERT INTO @schema@.document AS r (namespace_id, kind, id_key, id, version, body)
            SELECT a, b, c, d, 0, e FROM unnest(o_namespace, o_kind, o_key, o_id, o_body) AS t(a, b, c, d, e)
            ON CONFLICT (namespace_id, kind, id_key) DO UPDATE SET version = 0, body = excluded.body;
    END IF;
    IF cardinality(m_key) > 0 THEN
        INSERT INTO @schema@.document (namespace_id, kind, id_key, id, version, writer, body)
            SELECT a, b, c, d, 1, p_epoch, e FROM unnest(m_namespace, m_kind, m_key, m_id, m_body) AS t(a, b, c, d, e)
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(m_key) THEN
            RAISE EXCEPTION 'stale' USING ERRCODE = 'PD409';
        END IF;
    END IF;
    IF cardinality(k_key) > 0 THEN
        UPDATE @schema@.document r SET version = t.d, writer = p_epoch, body = t.e
            FROM unnest(k_namespace, k_kind, k_key, k_version, k_base, k_body) AS t(a, b, c, d, h, e)
            WHERE r.namespace_id = t.a AND r.kind = t.b AND r.id_key = t.c AND r.version = t.d - 1
                AND (t.h = 0 OR r.writer = t.h);
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n <> cardinality(k_key) THEN
            RAISE EXCEPTION 'stale' USING ERRCODE = 'PD409';
        END IF;
    END IF;
END
$$;
