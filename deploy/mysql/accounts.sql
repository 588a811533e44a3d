-- The database and the accounts of the worker on MySQL 8 and MariaDB 10.11.
-- Put passwords in place of the three dots and run it as root, once:
--
--   mysql <accounts.sql
--   ttp-worker migrate --db mysql://ttp-admin:...@HOST:3306/ttp
--   mysql <rights.sql
--
-- For an existing DECNET database leave CREATE DATABASE out and put the name of
-- that one in place of ttp, here and in rights.sql.
CREATE DATABASE IF NOT EXISTS ttp CHARACTER SET utf8mb4;

-- For people and for "ttp-worker migrate", "replay", "rules" and "dlq".
CREATE USER IF NOT EXISTS 'ttp-admin'@'%' IDENTIFIED BY '...';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES ON ttp.* TO 'ttp-admin'@'%';

-- For "ttp-worker run --migrate=false"; its rights are in rights.sql.
CREATE USER IF NOT EXISTS 'ttp'@'%' IDENTIFIED BY '...';
