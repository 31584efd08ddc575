// The program: everything is in cli.cpp and the verbs.
#include "app/cli.h"

int main(int argc, char** argv) {
  return hone::app::run_cli(argc, argv);
}
