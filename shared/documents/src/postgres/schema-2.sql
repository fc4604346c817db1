CREATE TABLE invitation (
    id TEXT PRIMARY KEY,
    room TEXT NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    digest BYTEA NOT NULL,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX invitation_by_room ON invitation (room);
CREATE INDEX invitation_by_end ON invitation (expires_at);

CREATE TABLE snippet (
    id TEXT PRIMARY KEY,
    touched_at BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    data BYTEA NOT NULL
);
CREATE INDEX snippet_by_touch ON snippet (touched_at);
