CREATE TABLE server (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    token TEXT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL
);
