#!/usr/bin/python3
"""PgQ's consumer as a client: fetches a batch, notes its events in one
statement, finishes it, commits; ends when there is no batch.

usage: pgq_consumer.py SOCKET-FOLDER
"""

import sys

import psycopg2


def main():
    connection = psycopg2.connect(host=sys.argv[1], dbname="bench",
                                  user="bench")
    cursor = connection.cursor()
    cursor.execute("insert into bench.consumer default values")
    connection.commit()
    while True:
        cursor.execute("select pgq.next_batch('bench', 'bench')")
        batch = cursor.fetchone()[0]
        if batch is None:
            break
        cursor.execute("select ev_id, ev_type, ev_data, ev_extra1, ev_time "
                       "from pgq.get_batch_events(%s)", (batch,))
        cursor.execute("insert into bench.noted (id, subscription) "
                       "select id, 1 from unnest(%s::bigint[]) id",
                       ([row[0] for row in cursor.fetchall()],))
        cursor.execute("select pgq.finish_batch(%s)", (batch,))
        connection.commit()
    connection.close()


main()
