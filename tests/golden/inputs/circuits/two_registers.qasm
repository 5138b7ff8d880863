OPENQASM 3.0;
include "stdgates.inc";
// Mid-circuit measurements into two registers, gates that depend on them, and a reset.
bit[2] early;
bit late;
qubit[3] q;
ry(0.9) q[0];
h q[1];
early[0] = measure q[0];
if (early[0]) { x q[1]; }
early[1] = measure q[1];
reset q[0];
if (early == 2) { sx q[2]; } else { ry(1.1) q[2]; }
late = measure q[2];
