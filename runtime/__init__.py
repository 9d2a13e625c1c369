"""What every process needs, and no rule of the business: metrics, heartbeats, disks, PostgreSQL, Kafka, ClickHouse."""
