"""The processes of a job under mpirun or srun: who they are, what they share, how they end. Nothing of networks.

MPI is imported only where there are several.
"""
