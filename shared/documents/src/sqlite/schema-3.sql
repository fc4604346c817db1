-- A ticket that was made with an invitation ends with that. Those that are here do not tell, and are
-- good for less than a minute.
DELETE FROM ticket;
ALTER TABLE ticket ADD COLUMN invitation TEXT REFERENCES invitation (id) ON DELETE CASCADE;
CREATE INDEX ticket_by_invitation ON ticket (invitation) WHERE invitation IS NOT NULL;
