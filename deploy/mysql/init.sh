# Sourced by the image of MySQL when it makes its database: accounts.sql with the
# passwords from the secrets.
for user in ttp-admin ttp; do
	echo "CREATE USER IF NOT EXISTS '$user'@'%' IDENTIFIED BY '$(cat "/run/secrets/mysql-$user")';"
done | docker_process_sql
grep -v '^CREATE USER' /accounts.sql | docker_process_sql
