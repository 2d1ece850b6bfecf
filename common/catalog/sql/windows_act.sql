-- One row: the clock, the policy's mark, how many jobs were put off, how many runs asked to stop.
SELECT now_is, mark, put_off, stopped FROM holdfast.windows_act()
