-- What the account of "ttp-worker run --migrate=false" needs and no more. The
-- tables must be there: run "ttp-worker migrate" first, and this file again
-- after an upgrade that adds one.
GRANT SELECT ON ttp.* TO 'ttp'@'%';
GRANT INSERT ON ttp.ttp_tag TO 'ttp'@'%';
GRANT INSERT, UPDATE, DELETE ON ttp.ttp_outbox TO 'ttp'@'%';
GRANT INSERT, UPDATE ON ttp.ttp_replay TO 'ttp'@'%';

-- To turn back rule states that have expired, and to set them over HTTP.
GRANT INSERT, DELETE ON ttp.ttp_rule_state TO 'ttp'@'%';

-- For --unknown-attacker=create only; leave them out where DECNET or another
-- program writes the attackers.
GRANT INSERT, UPDATE ON ttp.attackers TO 'ttp'@'%';
GRANT INSERT, UPDATE ON ttp.attacker_identities TO 'ttp'@'%';
