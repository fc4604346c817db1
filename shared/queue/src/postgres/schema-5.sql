-- Attempts that were given back as somebody was asked to leave: so many are, and no more.
ALTER TABLE jobs ADD COLUMN drains INTEGER NOT NULL DEFAULT 0;
