"""The two tables that the state of TestGen's metadata is saved in; they are made when a state is first saved."""

from dqctl.records import Column, Table, Type

STATE_LOG = Table(
    "dq_state_log",
    "Rows that came to TestGen's metadata, and rows that went: the state as of a commit is what they add up to. "
    "Only rows whose commit is in dq_state_commits count.",
    (
        Column("stack", Type.STRING, "The dqctl stack whose metadata it is.", required=True),
        Column("commit_id", Type.STRING, "The commit that the row belongs to (UUID).", required=True),
        Column("seq", Type.BIGINT, "The commit's number.", required=True),
        Column("relation", Type.STRING, "The table: testgen.test_definitions.", required=True),
        Column(
            "change",
            Type.BIGINT,
            "1: the row came, -1: it went; more where equal rows came or went.",
            required=True,
        ),
        Column(
            "row",
            Type.STRING,
            "The row as a JSON object: every value is PostgreSQL's own text of it, or null. Some values are "
            "sealed (dqctl-sealed:...), TestGen's own secrets are encrypted.",
            required=True,
        ),
        Column("digest", Type.STRING, "MD5 of the row's text before values were sealed.", required=True),
    ),
    key=("stack", "commit_id", "relation", "digest"),
    cluster_by=("stack", "relation", "seq"),
)

STATE_COMMITS = Table(
    "dq_state_commits",
    "One row a save of TestGen's metadata, written last: what is here can be restored.",
    (
        Column("stack", Type.STRING, "The dqctl stack.", required=True),
        Column("seq", Type.BIGINT, "Number of the commit; each is one more than its parent.", required=True),
        Column("commit_id", Type.STRING, "Id of the commit (UUID).", required=True),
        Column("parent", Type.STRING, "Id of the commit before; NULL for the first."),
        Column(
            "kind", Type.STRING, "base: holds everything. delta: what changed since its parent.", required=True
        ),
        Column("base_seq", Type.BIGINT, "Number of the base that it builds on, or its own.", required=True),
        Column("saved_at", Type.TIMESTAMP, "When it was saved.", required=True),
        Column("host", Type.STRING, "Machine that saved it."),
        Column("reason", Type.STRING, "The command that saved it."),
        Column("dqctl_version", Type.STRING, "Version of dqctl."),
        Column("testgen_version", Type.STRING, "Version of TestGen whose metadata it is."),
        Column("schema_revision", Type.BIGINT, "Revision of the metadata's schema."),
        Column("keys", Type.STRING, "Fingerprint of the stack's decrypt keys, which a restore needs."),
        Column("tables", Type.STRING, "JSON: rows and checksum of every table as of the commit."),
        Column("sequences", Type.STRING, "JSON: last value of every sequence, and whether it was given out."),
        Column("ddl", Type.STRING, "base: JSON, the schema as SQL, to run before and after the rows come."),
        Column("log_rows", Type.BIGINT, "How many rows of dq_state_log belong to it.", required=True),
    ),
    key=("stack", "seq"),
    cluster_by=("stack", "seq"),
    # Two saves at the same time must not both become visible: by default an insert does not conflict with a MERGE
    # that reads what the insert adds to.
    properties=(("delta.isolationLevel", "Serializable"),),
)

STATE_TABLES = (STATE_LOG, STATE_COMMITS)
