-- `number` is that of the last update, `snapshot_number` that of the last one that the snapshot has.
CREATE TABLE room (
    id TEXT PRIMARY KEY,
    title TEXT,
    visibility TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    touched_at BIGINT NOT NULL,
    number BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    snapshot_number BIGINT NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX room_by_touch ON room (touched_at);

CREATE TABLE room_update (
    room TEXT NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    data BYTEA NOT NULL,
    PRIMARY KEY (room, number)
);

CREATE TABLE room_snapshot (
    room TEXT PRIMARY KEY REFERENCES room (id) ON DELETE CASCADE,
    state BYTEA NOT NULL
);

CREATE TABLE ticket (
    digest BYTEA PRIMARY KEY,
    room TEXT NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    name TEXT,
    expires_at BIGINT NOT NULL
);
CREATE INDEX ticket_by_room ON ticket (room);
CREATE INDEX ticket_by_end ON ticket (expires_at);
