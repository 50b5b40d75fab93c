"""What an unchanged databricks-sqlalchemy makes of a local workspace, as one JSON object on stdout.

Runs in a Python that has nothing else. Arguments: host, token file, schema.
"""

import datetime
import decimal
import json
import pathlib
import sys

import pandas
from databricks import sqlalchemy as databricks
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    create_engine,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Mapped, Session, declarative_base, mapped_column

HOST, TOKEN_FILE, SCHEMA = sys.argv[1:]
TOKEN = pathlib.Path(TOKEN_FILE).read_text().strip()
Base = declarative_base()


class Customer(Base):
    __tablename__ = "customers"
    __table_args__ = ({"comment": "who buys"},)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String, comment="as they write it")
    limit_: Mapped[decimal.Decimal] = mapped_column("limit", Numeric(12, 2))
    since: Mapped[datetime.date] = mapped_column(Date, nullable=True)
    seen: Mapped[datetime.datetime] = mapped_column(databricks.TIMESTAMP_NTZ, nullable=True)
    active: Mapped[bool] = mapped_column(Boolean, nullable=True)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    customer: Mapped[int] = mapped_column(BigInteger, ForeignKey("customers.id"))
    placed: Mapped[datetime.datetime] = mapped_column(DateTime, nullable=True)


def main():
    url = f"databricks://token:{TOKEN}@{HOST}?http_path=/sql/1.0/warehouses/local&catalog=main&schema={SCHEMA}"
    engine = create_engine(url)
    found = {}
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS main.{SCHEMA}"))
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)  # what is there is found

    with Session(engine) as session:
        day = datetime.date(2024, 2, 29)
        seen = datetime.datetime(2024, 2, 29, 12, 30, 0, 250)  # noqa: DTZ001 - a TIMESTAMP_NTZ has none
        session.add_all(
            [
                Customer(id=1, name="Ada's", limit_=decimal.Decimal("10.25"), since=day, seen=seen, active=True),
                Customer(id=2, name="Zoë", limit_=decimal.Decimal("-1.00"), active=False),
                Order(id=1, customer=1, placed=seen),
                Order(id=2, customer=1),
            ]
        )
        session.commit()
        ada = session.scalars(select(Customer).where(Customer.name == "Ada's")).one()
        found["row"] = [ada.id, str(ada.limit_), str(ada.since), str(ada.seen), ada.active]
        ada.name = "Ada"
        session.commit()
        counted = select(Customer.name, func.count(Order.id)).join(Order, isouter=True)
        found["joined"] = [list(row) for row in session.execute(counted.group_by(Customer.name).order_by("name"))]
        session.delete(session.get(Customer, 2))
        session.commit()
        found["left"] = session.scalar(select(func.count()).select_from(Customer))

    about = inspect(engine)
    found["tables"] = sorted(about.get_table_names(schema=SCHEMA))
    found["columns"] = {
        column["name"]: [str(column["type"]), column["nullable"], column.get("comment")]
        for column in about.get_columns("customers", schema=SCHEMA)
    }
    found["comment"] = about.get_table_comment("customers", schema=SCHEMA)["text"]
    found["key"] = about.get_pk_constraint("customers", schema=SCHEMA)["constrained_columns"]
    (foreign,) = about.get_foreign_keys("orders", schema=SCHEMA)
    found["foreign"] = [foreign["constrained_columns"], foreign["referred_table"], foreign["referred_columns"]]
    found["has"] = [about.has_table("orders", schema=SCHEMA), about.has_table("nothing", schema=SCHEMA)]
    found["schemas"] = SCHEMA in about.get_schema_names()
    with engine.connect() as connection:
        connection.execute(text("CREATE VIEW ones AS SELECT * FROM customers WHERE id = 1"))
    found["views"] = about.get_view_names(schema=SCHEMA)

    loaded = Table("orders", MetaData(schema=SCHEMA), autoload_with=engine)
    found["autoload"] = {column.name: str(column.type) for column in loaded.columns}
    pandas.DataFrame({"a": [1, 2], "b": ["x", None]}).to_sql("frame", engine, index=False, if_exists="replace")
    found["frame"] = pandas.read_sql("SELECT * FROM frame ORDER BY a", engine)["b"].isna().tolist()
    extra = Table("extra", MetaData(), Column("id", Integer), Column("tags", databricks.DatabricksArray(String)))
    extra.create(engine)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO extra VALUES (1, array('a', 'b'))"))
        found["array"] = [list(row.tags) for row in connection.execute(select(extra))]
        try:
            connection.execute(text("SELECT * FROM nothing"))
        except DatabaseError as error:
            found["error"] = "TABLE_OR_VIEW_NOT_FOUND" in str(error)
    Base.metadata.drop_all(engine)
    found["dropped"] = sorted(inspect(engine).get_table_names(schema=SCHEMA))
    engine.dispose()
    print(json.dumps(found))  # noqa: T201 - what it is for


main()
