"""The process that watches the ranks of a job: everybody is told how it ends."""

from lenumba.engine.ranks.watch import connect, start_watch


def test_a_rank_that_comes_late_hears_of_the_end():
    host, port, secret = start_watch(2)
    first = connect(host, port)
    first.sendall(f"hello {secret} 0 1 here\nbye 2\n".encode())
    assert first.recv(100) == b"end 2\n"
    late = connect(host, port)
    late.sendall(f"hello {secret} 1 2 here\n".encode())
    first.close()
    assert late.recv(100) == b"end 2\n"
    late.close()
