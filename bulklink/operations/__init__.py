"""Operations that the command line and programs call."""
