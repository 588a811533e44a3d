-- +goose Up
-- The indexes have all that a rollup asks for: its rows are not read.
DROP INDEX ix_ttp_tag_attacker_technique;
CREATE INDEX ix_ttp_tag_attacker_technique ON ttp_tag (attacker_uuid, identity_uuid, technique_id, sub_technique_id, tactic, rule_id, confidence, decky_id, created_at);
DROP INDEX ix_ttp_tag_identity_technique;
CREATE INDEX ix_ttp_tag_identity_technique ON ttp_tag (identity_uuid, technique_id, sub_technique_id, tactic, rule_id, confidence, decky_id, created_at);
DROP INDEX ix_ttp_tag_created_at;
CREATE INDEX ix_ttp_tag_created_at ON ttp_tag (created_at, id, technique_id, sub_technique_id, tactic, rule_id, confidence, decky_id);
CREATE INDEX ix_ttp_tag_technique_created ON ttp_tag (technique_id, created_at, id, sub_technique_id, tactic, confidence, decky_id);
CREATE INDEX ix_attacker_identities_merged_into_uuid ON attacker_identities (merged_into_uuid) WHERE merged_into_uuid IS NOT NULL;
