using System.Runtime.CompilerServices;

// libclang's structs cross the border as they lie.
[assembly: DisableRuntimeMarshalling]
[assembly: InternalsVisibleTo("Abi.Tests")]
