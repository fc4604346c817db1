CREATE TABLE totals (
    is_one INTEGER PRIMARY KEY CHECK (is_one = 1),
    rooms INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
INSERT INTO totals VALUES (1, 0, 0);

-- `number` is that of the last update, `snapshot_number` that of the last one that the snapshot has.
CREATE TABLE room (
    id TEXT PRIMARY KEY,
    title TEXT,
    visibility TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,
    number INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    snapshot_number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX room_by_touch ON room (touched_at);

CREATE TABLE room_update (
    room TEXT NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (room, number)
);

CREATE TABLE room_snapshot (
    room TEXT NOT NULL UNIQUE REFERENCES room (id) ON DELETE CASCADE,
    state BLOB NOT NULL
);

CREATE TABLE ticket (
    digest BLOB PRIMARY KEY,
    room TEXT NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    name TEXT,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX ticket_by_room ON ticket (room);
CREATE INDEX ticket_by_end ON ticket (expires_at);

CREATE TRIGGER room_added AFTER INSERT ON room BEGIN
    UPDATE totals SET rooms = rooms + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER room_deleted AFTER DELETE ON room BEGIN
    UPDATE totals SET rooms = rooms - 1, bytes = bytes - old.bytes;
END;
CREATE TRIGGER room_changed AFTER UPDATE OF bytes ON room BEGIN
    UPDATE totals SET bytes = bytes + new.bytes - old.bytes;
END;
