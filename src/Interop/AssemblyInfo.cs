using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

// Every signature is blittable: the runtime has nothing to marshal and may inline the call.
[assembly: DisableRuntimeMarshalling]

// Native libraries come from the system's search path, never from the directory the assembly happens to lie in.
[assembly: DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
