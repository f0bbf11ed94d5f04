using System.Runtime.CompilerServices;

// libclang's structs are passed by value without marshalling.
[assembly: DisableRuntimeMarshalling]
[assembly: InternalsVisibleTo("Blkring.AbiImport.Tests")]
