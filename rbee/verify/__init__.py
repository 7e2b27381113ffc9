"""The shipped suite that looks whether a host is fit to run rbee: testinfra over the person's own ssh.

    python -m rbee.verify --host workstation --ssh root@workstation     what ``rbee-keeper pool verify`` starts
    pytest --pyargs rbee.verify --hosts=ssh://root@workstation          the same checks, by hand

To follow one check, read in this order:

    survey      the program that runs on the host, once, and says all it can see there as JSON
    facts       what it said, with the questions that checks ask of it
    unmet       how a check fails: expected, found, mend
    test_*      one module a group, one function a check; its docstring is its title
    conftest    the fixtures, and how a failure reads in plain pytest
    report      the document;  __main__ runs pytest quietly and prints it

Importing this package imports neither pytest nor testinfra.
"""
