CREATE TABLE invitation (
    id TEXT PRIMARY KEY,
    room TEXT NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    digest BLOB NOT NULL,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX invitation_by_room ON invitation (room);
CREATE INDEX invitation_by_end ON invitation (expires_at);

ALTER TABLE totals ADD COLUMN snippets INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN snippet_bytes INTEGER NOT NULL DEFAULT 0;

CREATE TABLE snippet (
    id TEXT PRIMARY KEY,
    touched_at INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX snippet_by_touch ON snippet (touched_at);

CREATE TRIGGER snippet_added AFTER INSERT ON snippet BEGIN
    UPDATE totals SET snippets = snippets + 1, snippet_bytes = snippet_bytes + length(new.data);
END;
CREATE TRIGGER snippet_deleted AFTER DELETE ON snippet BEGIN
    UPDATE totals SET snippets = snippets - 1, snippet_bytes = snippet_bytes - length(old.data);
END;
